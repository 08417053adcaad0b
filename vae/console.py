"""`latent-loom train …` and `latent-loom render …`: the programs of a checkout, where the package is installed."""

import sys

from data.system.errors import UserError, echo, one_line_errors
from data.system.program import CONSOLE_COMMAND, run_program
from data.system.spelling import suggest
from vae import __version__

PROGRAMS = {"train": "vae.training.cli.main", "render": "vae.render.cli.main"}
_HELP = f"""usage: {CONSOLE_COMMAND} [-h] [--version] {{{",".join(PROGRAMS)}}} ...

train   trains a VAE on pictures; without more words, for five minutes on the built-in patterns
render  renders morphs from a trained VAE; without more words, four animations into renders/

{CONSOLE_COMMAND} train --help and {CONSOLE_COMMAND} render --help say more."""


def main() -> None:
    """Runs the program that the first word of the command line names.

    Raises:
        SystemExit: code 2 and one line on standard error where it names none.
    """
    word, *_ = [*sys.argv[1:], "--help"]
    if word in PROGRAMS:
        run_program(word, PROGRAMS[word])
        return
    with one_line_errors(CONSOLE_COMMAND):
        if word not in ("-h", "--help", "--version"):
            raise UserError(f"{word}: no such program; {suggest(word, PROGRAMS)}")
        for line in [__version__] if word == "--version" else _HELP.splitlines():
            echo(line)
