"""Errors that end a program with one line on standard error and exit code 2, without a traceback."""

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


def escape_unprintable(text: str) -> str:
    r"""A line that is safe for a terminal, whatever a file is called: what cannot be printed becomes an escape.

    >>> print(escape_unprintable("a\nb\x1b[2J\udcff é"))
    a\nb\x1b[2J\xff é
    """
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def shell_quoted(path: Path) -> str:
    """A path for a command line: between quotes if it has spaces.

    >>> shell_quoted(Path("my cats/last.ckpt")), shell_quoted(Path("cats"))
    ('"my cats/last.ckpt"', 'cats')
    """
    return f'"{path}"' if " " in str(path) else str(path)


def _escape(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def echo(line: str, to: TextIO | None = None) -> None:
    """Prints one printable line, to standard output unless said otherwise."""
    print(escape_unprintable(line), file=to, flush=True)


def describe_oserror(error: OSError, remedy: str = "choose another place or name") -> str:
    """A system's error in one line: the file, or else standard output, the fault and the remedy.

    Where standard output is gone or full, nothing more is written to it.
    """
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
    """Turns a `UserError`, a system's error and a lack of memory into one line on standard error and exit code 2."""
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
            echo(line, sys.stderr)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            _mute(stream)
    return SystemExit(code)


def _mute(stream: TextIO) -> None:
    """Redirects what Python, or a progress bar that is deleted, still writes to nowhere."""
    with suppress(OSError):  # it stands for no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
