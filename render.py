"""Renders morphs from a trained VAE: walks, loops, comparisons and stills.

Without arguments: linear.gif, slerp.gif, loop.gif and compare.gif into renders/.
"""

import gc

from data.system import signals

if __name__ == "__main__":
    signals.exit_while_starting("render.py")
    gc.disable()  # looking for garbage among what torch imports, now and on the way out, takes 0.4 s

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.system.errors import UserError, check_at_least, echo, escape_unprintable, one_line_errors, shell_quoted
from data.system.files import resolved, user_path
from vae import checkpoint
from vae.export import export, usage
from vae.metrics import lines_benchmark
from vae.onnx_generator import OnnxGenerator
from vae.render.animation import render_animation
from vae.render.commands import build_parser
from vae.render.formats import writers as animation
from vae.render.lines_table import score_paths, table
from vae.render.morph_pad import render_page
from vae.render.stills import SHEETS
from vae.render.takes import side

_SHIPPED = Path(__file__).resolve().parent / "checkpoints" / "patterns.ckpt"
_LARGEST = 4096
_DEFAULT_COMMANDS = ("linear", "slerp", "loop", "compare")


def score_lines(options: Any) -> None:
    """The `lines` command: prints a table."""
    check_at_least(1, "pairs", options.pairs)
    path = user_path(options.checkpoint)
    angles = lines_benchmark.random_pairs(options.seed, options.pairs)
    echo(f"lines: {options.pairs} pairs of fresh lines, seed {options.seed}, {path}")
    print(table(score_paths(checkpoint.load_vae(path), angles)))
    echo(f"0 is best; rotation is the ideal. Next: python render.py slerp --checkpoint {shell_quoted(path)}")


def export_model(options: Any) -> None:
    """The `export` command: files for other programs."""
    (source,) = choose_checkpoints(options.checkpoint)
    echo(f"export: {source}")
    out = user_path("renders/decoder.onnx" if options.out is None else options.out)
    vae = checkpoint.load_vae(source)
    for path in export(vae, out, options.encoder):
        echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    for line in usage(vae, out):
        echo(line)


def choose_checkpoints(named: str | list[str] | None) -> list[Path]:
    """The checkpoints to render from: the named ones, else the newest training's, else the shipped one."""
    if named is not None:
        found = [user_path(name) for name in ([named] if isinstance(named, str) else named)]
        for path in found:
            if sum(resolved(path) == resolved(other) for other in found) > 1:
                raise UserError(f"checkpoint {path}: is named twice; name it once")
        return found
    return (checkpoint.last_checkpoints(Path("checkpoints")) or [_SHIPPED])[:1]


def run(command: str, options: Any) -> Path:
    """One command: says where the weights come from, renders, returns where the result is."""
    sources = choose_checkpoints(options.checkpoint)
    options.checkpoint = [str(source) for source in sources]
    if getattr(options, "size", None) is not None and not 16 <= options.size <= _LARGEST:
        raise UserError(f"size {options.size}: must be from 16 to {_LARGEST}")
    generators = [] if getattr(options, "generator", None) is None else [user_path(options.generator)]
    every = [*sources, *generators]
    vaes = {_short(source, every): checkpoint.load_vae(source) for source in sources}
    first = next(iter(vaes.values()))
    models = vaes | {_short(path, every): OnnxGenerator(path) for path in generators}
    if len(models) > 1:
        options.size = max(side(model, options) for model in models.values())
    echo(f"{command}: rendering from {', '.join(map(str, every))}")
    kind = "html" if command == "explore" else "png" if command in SHEETS else "gif"
    out = user_path(f"renders/{command}.{kind}" if options.out is None else options.out)
    if kind == "html":
        page = render_page(first, out, options.sets, options.seed, options.truncation, options.keyframes or ())
        echo(f"{out}: {page}")
    elif kind == "png":
        animation.check_still(out)
        echo(f"{out}: {SHEETS[command](first, options, out)}")
    else:
        render_animation(command, models, options, out)
    return out


def _short(path: Path, among: list[Path]) -> str:
    """The last parts of a path that tell it from the others."""
    for parts in range(1, len(path.parts)):
        if sum(other.parts[-parts:] == path.parts[-parts:] for other in among) == 1:
            return escape_unprintable("/".join(path.parts[-parts:]))
    return escape_unprintable(str(path))


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command, or the usual four where none is named.

    Args:
        args: as on the command line, without the program's name; None takes them from there.

    Raises:
        SystemExit: code 2 and one line on standard error for bad input.
    """
    words = [_with_underscores(word) for word in (sys.argv[1:] if args is None else args)]
    with one_line_errors("render.py"):
        parser = build_parser(__doc__, words[0] if words else None)
        for plan in [words] if words else [[command] for command in _DEFAULT_COMMANDS]:
            parsed = parser.parse_args(plan)
            if parsed.subcommand == "lines":
                return score_lines(parsed.lines)
            if parsed.subcommand == "export":
                return export_model(parsed.export)
            out = run(parsed.subcommand, parsed[parsed.subcommand])
        opened = out if words else out.parent
        echo(f"Open {opened}. Next: python render.py route --keyframes cat.png dog.png --out morph.mp4")


def _with_underscores(word: str) -> str:
    """--max-size is --max_size."""
    return re.sub(r"^--[a-z-]+", lambda found: "--" + found[0][2:].replace("-", "_"), word)


if __name__ == "__main__":
    gc.enable()
    gc.freeze()
    signals.run(main)
