"""Signals that end a program: Ctrl-C, SIGTERM and SIGHUP, before its work has begun, while it works and after its end.

While Python imports, an interrupt is a long traceback; while it shuts down, it spoils what is done. By default SIGTERM
and SIGHUP end a program before it can remove what is half-made.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import NoReturn

_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_ALL = (signal.SIGINT, *_ENDING)
child_processes: dict[int, Callable[[], None]] = {}  # those that end with this one: pid → what kills it


def kill_child_processes() -> None:
    """Kills them at once: a thread that waits for one would delay the end of this one."""
    for kill in list(child_processes.values()):
        kill()


def _handle(numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], object]) -> None:
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background jobs, or nohup's
            signal.signal(number, handler)


def exit_while_starting(program: str) -> None:
    """From now on these signals end the program at once, with one line; call it before the first large import."""
    _handle(_ALL, partial(_quit, program))


def _quit(program: str, number: int, _: FrameType | None) -> None:
    os.write(2, f"\n{program}: interrupted; nothing was begun\n".encode())
    os._exit(128 + number)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    """Ends the program once: what is half-made is removed on the way out, which further signals do not stop."""
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)
    kill_child_processes()
    raise SystemExit(128 + number)


@contextmanager
def block_signals() -> Iterator[None]:
    """A block that signals do not interrupt: they come after it, when what it made is known to who removes it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(main: Callable[[], None]) -> None:
    """Runs a program, for which Ctrl-C is a KeyboardInterrupt and other signals exits; what it has ended with stays.

    Who was ended by a signal does not shut Python down: a thread that a library has just begun could abort it.
    """
    _handle((signal.SIGINT,), _interrupt)
    _handle(_ENDING, _exit)
    code = 0
    try:
        main()
    except SystemExit as end:
        if end.code not in {128 + number for number in _ALL}:
            raise
        code = end.code  # type: ignore[assignment]
    finally:
        for number in _ALL:
            signal.signal(number, signal.SIG_IGN)
    if code:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """KeyboardInterrupt, which no thread that waits for another process delays."""
    kill_child_processes()
    signal.default_int_handler(number, frame)
