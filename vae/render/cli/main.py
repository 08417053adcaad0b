"""Renders morphs from a trained VAE: paths, loops, comparisons and stills.

Without arguments: linear.gif, slerp.gif, loop.gif and compare.gif into renders/.
"""

import re
from collections.abc import Sequence

from data.system.errors import echo, one_line_errors
from data.system.program import program_arguments, program_command, program_name
from vae.render.commands import build_parser, run_command

_DEFAULT_COMMANDS = ("linear", "slerp", "loop", "compare")


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command, or the usual four where none is named.

    Args:
        args: as on the command line, without the program's name; None takes them from there.

    Raises:
        SystemExit: code 2 and one line on standard error for bad input.
    """
    words = [_with_underscores(word) for word in (program_arguments() if args is None else args)]
    with one_line_errors(program_name("render")):
        parser = build_parser(__doc__, words[0] if words else None)
        for line in [words] if words else [[command] for command in _DEFAULT_COMMANDS]:
            parsed = parser.parse_args(line)
            out = run_command(parsed.subcommand, parsed[parsed.subcommand].as_dict())
        if out is not None:
            opened = out if words else out.parent
            next_command = f"{program_command('render')} route --keyframes cat.png dog.png --out morph.mp4"
            echo(f"Open {opened}. Next: {next_command}")


def _with_underscores(word: str) -> str:
    """--max-size is --max_size."""
    return re.sub(r"^--[a-z-]+", lambda option: "--" + option[0][2:].replace("-", "_"), word)
