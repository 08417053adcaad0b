"""Renders morphs from a trained VAE: paths, loops, comparisons and stills.

Without arguments: linear.gif, slerp.gif, loop.gif and compare.gif into renders/.

python render.py cat.png dog.png     slerp through pictures, from the first to the last; with --loop and back
python render.py folder/             a tour of all its pictures
python render.py route cat.png dog.png --size 1080 --out morph.mp4
"""

import gc

from data.system import signals

if __name__ == "__main__":
    signals.exit_while_starting("render.py")
    gc.disable()  # looking for garbage among what torch imports, now and on the way out, takes 0.4 s

import sys
from collections.abc import Sequence

from data.system.errors import echo, one_line_errors
from vae.render.cli.hint import next_command
from vae.render.cli.parser import build_parser, run_command
from vae.render.cli.shorthand import expand

_DEFAULT_COMMANDS = ("linear", "slerp", "loop", "compare")


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command, or the usual four where none is named.

    Args:
        args: as on the command line, without the program's name; None takes them from there.

    Raises:
        SystemExit: code 2 and one line on standard error for bad input.
    """
    with one_line_errors("render.py"):
        words = expand(sys.argv[1:] if args is None else args)
        parser = build_parser(__doc__, words[0] if words else None)
        for line in [words] if words else [[command] for command in _DEFAULT_COMMANDS]:
            parsed = parser.parse_args(line)
            typed = parsed[parsed.subcommand].as_dict()
            out = run_command(parsed.subcommand, typed)
        if out is not None:
            following = next_command(parsed.subcommand if words else None, typed)
            echo(f"Open {out if words else out.parent}.{f' Next: {following}' if following else ''}")


if __name__ == "__main__":
    gc.enable()
    gc.freeze()
    signals.run(main)
