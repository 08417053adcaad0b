"""What the user is told when something is wrong: one line, exit code 2, no traceback."""

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

_FULL = (errno.ENOSPC, errno.EDQUOT)


class UserError(ValueError):
    """Bad input. Its message is one line: the thing, what is wrong with it, what to do."""


class StorageError(UserError):
    """A place that cannot be written to: it is full, read-only or someone else's."""


class TrainingError(RuntimeError):
    """A training that cannot go on. Its message is one line like that of a `UserError`; exit code 1."""


def check_at_least(least: int, name: str, value: int | None) -> None:
    """Raises `UserError` unless an option's value is so large, or None."""
    if value is not None and value < least:
        raise UserError(f"{name} {value}: must be at least {least}")


def printable(text: str) -> str:
    r"""One line that does nothing to a terminal, whatever a file is called: what cannot be seen is shown as an escape.

    >>> print(printable("a\nb\x1b[2J\udcff é"))
    a\nb\x1b[2J\xff é
    """
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def shell_quoted(path: Path) -> str:
    """A path for a command line: between quotes if it has spaces.

    >>> as_typed(Path("my cats/last.ckpt")), shell_quoted(Path("cats"))
    ('"my cats/last.ckpt"', 'cats')
    """
    return f'"{path}"' if " " in str(path) else str(path)


def _escape(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def say(line: str, to: TextIO | None = None) -> None:
    """Prints one printable line, to standard output unless said otherwise."""
    print(printable(line), file=to, flush=True)


def describe_oserror(error: OSError, remedy: str = "choose another place or name") -> str:
    """What the system refuses, in one line; what is written without a name is words, and there will be no more."""
    if isinstance(error, BrokenPipeError):
        _mute(sys.stdout)
        return "standard output: its reader has gone"
    if error.errno in _FULL and not error.filename:
        _mute(sys.stdout)
    named = isinstance(error.filename, str | bytes | os.PathLike)
    thing = os.fsdecode(error.filename) if named else "standard output" if error.errno in _FULL else None
    remedy = f"free space there, or {remedy}" if error.errno in _FULL else remedy
    return f"{f'{thing}: ' if thing else ''}{error.strerror or error}; {remedy}"


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turns a `UserError`, and what the system refuses, memory too, into one line on standard error and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error is, for letters that it does not have
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except (UserError, TrainingError) as error:
        raise _end(2 if isinstance(error, UserError) else 1, f"{program}: {error}") from None
    except (MemoryError, RuntimeError) as error:  # torch has a class for that of GPUs alone
        if not isinstance(error, MemoryError) and not re.search("allocate memory|out of memory", str(error)):
            raise
        raise _end(2, f"{program}: this takes more memory than there is; ask for smaller sizes or batches") from None
    except BrokenPipeError as error:
        describe_oserror(error)  # not to the user, who sent the reader away
        raise _end(1) from None
    except OSError as error:
        raise _end(2, f"{program}: {describe_oserror(error)}") from None
    except KeyboardInterrupt:
        with suppress(OSError):
            print(file=sys.stderr)  # below a progress bar
        raise _end(130, f"{program}: interrupted; nothing is half-written") from None


def _end(code: int, line: str = "") -> SystemExit:
    """Prints a line, if anyone can read it."""
    with suppress(OSError):
        if line:
            say(line, sys.stderr)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            _mute(stream)
    return SystemExit(code)


def _mute(stream: TextIO) -> None:
    """What Python, or a progress bar that is done away with, still wants to write goes nowhere."""
    with suppress(OSError):  # it stands for no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
