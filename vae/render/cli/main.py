"""Renders morphs from a trained VAE: paths, loops, comparisons and stills.

Without arguments: linear.gif, slerp.gif, loop.gif and compare.gif into renders/.
"""

from collections.abc import Sequence

from data.system.errors import echo, one_line_errors
from data.system.program import program_arguments, program_command, program_name
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
    with one_line_errors(program_name("render")):
        words = expand(program_arguments() if args is None else args)
        program = program_command("render")
        examples = (
            f"{program} cat.png dog.png      from the first picture to the last",
            f"{program} a.png b.png c.png --loop    and back to the first",
            f"{program} folder/              a tour of its pictures",
            f"{program} route cat.png dog.png --size 1080 --out morph.mp4",
        )
        parser = build_parser("\n".join([__doc__ or "", *examples]), words[0] if words else None)
        for line in [words] if words else [[command] for command in _DEFAULT_COMMANDS]:
            parsed = parser.parse_args(line)
            typed = parsed[parsed.subcommand].as_dict()
            out = run_command(parsed.subcommand, typed)
        if out is not None:
            following = next_command(parsed.subcommand if words else None, typed)
            echo(f"Open {out if words else out.parent}.{f' Next: {following}' if following else ''}")
