"""Renders morphs from a trained VAE: `linear`, `slerp`, `loop`, `compare` and `strip`.

Without arguments: linear.gif, slerp.gif, loop.gif and compare.gif into renders/.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor
from tqdm import tqdm

from data import lines_benchmark
from data.errors import UserError, told_in_one_line
from vae import animation, captions, checkpoint, timeline
from vae.frames import Frame, decode, resize
from vae.keyframes import named_keyframe, seeded_keyframes
from vae.lines_scores import score_paths, table
from vae.model import VAE
from vae.paths import PATHS

_SHIPPED = Path(__file__).resolve().parent / "checkpoints" / "patterns.ckpt"
_SIZE = 256
_LARGEST = 4096
_DEFAULT_COMMANDS = ("linear", "slerp", "loop", "compare")
_COMMANDS = {
    "linear": "Straight lines through latent space, keyframe to keyframe.",
    "slerp": "Great circles through latent space, keyframe to keyframe.",
    "loop": "Great circles through all keyframes and back, without a seam and without a frame shown twice.",
    "compare": "The linear path above the slerp path, labelled, in step.",
    "strip": "A still: the path's pictures side by side, with the time t under each.",
    "lines": "Scores a model of the data set `lines` by the LINES benchmark, beside paths that are known.",
}


@dataclass(frozen=True)
class Scene:
    """What every command needs.

    Args:
        checkpoint: a .ckpt file; null is the newest last.ckpt below checkpoints/, or else checkpoints/patterns.ckpt.
        seed: random keyframes are the first latents that this seed gives.
        count: how many random keyframes; null is 4 for a loop and 2 elsewhere.
        size: side of a picture in pixels; null is 256, or the model's own size where that is larger.
        resample: how pictures are resized: `lanczos` is smooth, `nearest` keeps hard pixels.
        out: the result; the suffix picks the format (.gif .webp .png .avif .mp4 .webm, none for a folder of frames);
            null is renders/, the command's name and .gif, or .png for a strip.
    """

    checkpoint: str | None = None
    seed: int = 0
    count: int | None = None
    size: int | None = None
    resample: Literal["lanczos", "nearest"] = "lanczos"
    out: str | None = None


@dataclass(frozen=True)
class Motion:
    """What an animation needs besides.

    Args:
        frames: frames from one keyframe to the next, on an open path counting both; K keyframes in a loop make
            K × frames, on an open path (K − 1) × (frames − 1) + 1.
        fps: frames a second.
        easing: inside each stretch: linear, ease, ease-in, ease-out, ease-in-out, cubic-in-out or
            cubic-bezier(a,b,c,d) with four numbers in [0, 1].
    """

    frames: int = 40
    fps: float = 20.0
    easing: str = "ease-in-out"


@dataclass(frozen=True)
class Strip:
    """What a strip needs besides.

    Args:
        steps: pictures, evenly spaced in t.
        path: linear or slerp.
    """

    steps: int = 8
    path: Literal["linear", "slerp"] = "slerp"


@dataclass(frozen=True)
class Lines:
    """What the benchmark needs.

    Args:
        checkpoint: a .ckpt file, trained on `lines`.
        seed: names the fresh lines.
        pairs: how many pairs of them.
    """

    checkpoint: str = "checkpoints/lines.ckpt"
    seed: int = 1
    pairs: int = lines_benchmark.PAIRS


def choose_keyframes(vae: VAE, options: Namespace, closed: bool) -> Tensor:
    """The keyframes (K, D) that the options list or draw.

    Raises:
        UserError: fewer than a path can be drawn through, or a picture that cannot be read.
    """
    if options.keyframes and options.count is not None:
        raise UserError("--count: is for random keyframes; leave it out beside --keyframes")
    usual, least = (4, 3) if closed else (2, 2)
    count = len(options.keyframes or ()) or (usual if options.count is None else options.count)
    if count < least:
        why = "a loop through fewer would go back the way it came" if closed else "a path needs two ends"
        raise UserError(f"{count} keyframes: give {least} or more with --count or --keyframes; {why}")
    if options.keyframes:
        return torch.cat([named_keyframe(vae, word) for word in options.keyframes])
    return vae.awake(seeded_keyframes(options.seed, count, vae.latent_dim))


def choose_checkpoint(named: str | None) -> Path:
    """The checkpoint to render from: the named one, else the newest training's, else the shipped one."""
    return Path(named).expanduser() if named else checkpoint.newest(Path("checkpoints")) or _SHIPPED


def pictures(vae: VAE, z: Tensor, options: Namespace) -> Iterator[Frame]:
    """The frames of latents, at the size that the options ask for."""
    size = max(_SIZE, vae.image_size) if options.size is None else options.size
    return (resize(frame, size, options.resample) for frame in decode(vae, z))


def render_animation(command: str, vae: VAE, options: Namespace, out: Path) -> None:
    """Writes the animation of a command."""
    animation.check(out, options.fps)
    closed = command == "loop"
    keyframes = choose_keyframes(vae, options, closed)
    segments = len(keyframes) - (not closed)
    t = timeline.times(segments, options.frames, timeline.easing(options.easing), closed)

    def along(path: str) -> Iterator[Frame]:
        return pictures(vae, PATHS[path](keyframes, t, closed), options)

    film: Iterator[Frame]
    if command == "compare":
        pairs = zip(along("linear"), along("slerp"), strict=True)
        film = (captions.in_column([captions.caption(a, "linear"), captions.caption(b, "slerp")]) for a, b in pairs)
    else:
        film = along("slerp" if closed else command)
    animation.write(tqdm(film, f"{out}", len(t), leave=False, unit=" frames", delay=1), out, options.fps)
    print(f"{out}: {len(t)} frames, {len(t) / options.fps:.1f} s")


def render_strip(vae: VAE, options: Namespace, out: Path) -> None:
    """Writes the strip."""
    animation.check_still(out)
    keyframes = choose_keyframes(vae, options, closed=False)
    if not 2 <= options.steps <= 64:
        raise UserError(f"steps {options.steps}: must be from 2 to 64")
    t = torch.linspace(0, len(keyframes) - 1, options.steps, dtype=torch.float64)
    row = pictures(vae, PATHS[options.path](keyframes, t, False), options)
    strip = [captions.caption(frame, f"t = {time:.2f}") for frame, time in zip(row, t.tolist(), strict=True)]
    animation.write_still(captions.in_row(strip), out)
    print(f"{out}: {options.steps} pictures")


class Parser(ArgumentParser):
    """Tells what is wrong with an argument in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message and exits with code 2."""
        print(f"render.py: {' '.join(str(message).split())} (see python render.py --help)", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> Parser:
    """The command line: one subcommand each, with the options of its parts."""
    parser = Parser(prog="render.py", description=__doc__)
    commands = parser.add_subcommands(required=False)
    for name, purpose in _COMMANDS.items():
        command = Parser(description=purpose)
        if name == "lines":
            command.add_class_arguments(Lines)
        else:
            command.add_class_arguments(Scene)
            command.add_class_arguments(Strip if name == "strip" else Motion)
            command.add_argument(
                "--keyframes", nargs="+", type=str, default=None, help="integers are seeds, anything else a picture"
            )
        commands.add_subcommand(name, command, help=purpose)
    return parser


def score_lines(options: Any) -> None:
    """The `lines` command: prints a table."""
    if options.pairs < 1:
        raise UserError(f"pairs {options.pairs}: must be at least 1")
    path = Path(options.checkpoint).expanduser()
    angles = lines_benchmark.pairs(options.seed, options.pairs)
    print(f"lines: {options.pairs} pairs of fresh lines, seed {options.seed}, {path}", flush=True)
    print(table(score_paths(checkpoint.load_vae(path), angles)))
    print(f"0 is best; rotation is the ideal. Next: python render.py slerp --checkpoint {path}")


def run(command: str, options: Any) -> Path:
    """One command: says where the weights come from, renders, returns where the result is."""
    source = choose_checkpoint(options.checkpoint)
    if options.size is not None and not 16 <= options.size <= _LARGEST:
        raise UserError(f"size {options.size}: must be from 16 to {_LARGEST}")
    vae = checkpoint.load_vae(source)
    print(f"{command}: rendering from {source}", flush=True)
    out = Path(options.out or f"renders/{command}.{'png' if command == 'strip' else 'gif'}").expanduser()
    if command == "strip":
        render_strip(vae, options, out)
    else:
        render_animation(command, vae, options, out)
    return out


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command, or the usual four where none is named.

    Args:
        args: as on the command line, without the program's name; None takes them from there.

    Raises:
        SystemExit: code 2 and one line on standard error for bad input.
    """
    words = list(sys.argv[1:] if args is None else args)
    parser = build_parser()
    with told_in_one_line("render.py"):
        for plan in [words] if words else [[command] for command in _DEFAULT_COMMANDS]:
            parsed = parser.parse_args(plan)
            if parsed.subcommand == "lines":
                return score_lines(parsed.lines)
            out = run(parsed.subcommand, parsed[parsed.subcommand])
    print(
        f"Open {out if words else out.parent}. Next: python render.py slerp --keyframes cat.png dog.png --out morph.mp4"
    )


if __name__ == "__main__":
    main()
