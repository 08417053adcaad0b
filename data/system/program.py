"""`train` and `render`, the two programs: their names, how a user starts them, their arguments, and their start.

In a checkout they are `python train.py` and `python render.py`, where installed `latent-loom train` and
`latent-loom render`. All of it is a function of `sys.argv`, with which Lightning starts the other processes of a
training, too.
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from data.system import signals
from data.system.errors import shell_quoted

CONSOLE_COMMAND = "latent-loom"
_SCRIPTS = ("train.py", "render.py")


def program_name(program: str) -> str:
    """The name of a program, with which its messages begin: `train.py`, or `latent-loom train`."""
    return f"{CONSOLE_COMMAND} {program}" if _by_console_command() else f"{program}.py"


def program_command(program: str) -> str:
    """The words that start a program, for a message that proposes them: `python train.py`, or `latent-loom train`."""
    if _by_console_command():
        return program_name(program)
    typed = Path(sys.argv[0])  # `../loom/train.py` where the folder is another one
    script = typed.with_name(f"{program}.py") if typed.name in _SCRIPTS else Path(f"{program}.py")
    return f"python {shell_quoted(script)}"


def program_arguments() -> list[str]:
    """The words of the command line that follow the name of the program."""
    return sys.argv[_first_argument() :]


@contextmanager
def replaced_arguments(words: Sequence[str]) -> Iterator[None]:
    """A block in which other words follow the name of the program, in processes that Lightning starts, too."""
    original = sys.argv
    sys.argv = [*sys.argv[: _first_argument()], *words]
    try:
        yield
    finally:
        sys.argv = original


def run_program(program: str, module: str) -> None:
    """Runs the `main` of a module as a program, which a signal ends with one line from now on."""
    signals.exit_while_starting(program_name(program))
    gc.disable()  # looking for garbage among what torch imports, now and on the way out, takes 0.4 s
    main = import_module(module).main
    gc.enable()
    gc.freeze()
    signals.run(main)


def _by_console_command() -> bool:
    return Path(sys.argv[0]).stem == CONSOLE_COMMAND


def _first_argument() -> int:
    return 2 if _by_console_command() else 1
