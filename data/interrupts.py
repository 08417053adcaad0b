"""Ctrl-C before a program's work has begun and after it has ended.

While Python imports, an interrupt is a long traceback, or is swallowed; while it shuts down, it spoils what is done.
"""

import os
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType

_USUAL = signal.default_int_handler
others: dict[int, Callable[[], None]] = {}  # processes that end with this one, by number: what ends each


def end_others() -> None:
    """Ends those processes at once: a thread that waits for one would delay the end of this one."""
    for end in list(others.values()):
        end()


def while_starting(program: str) -> None:
    """From now on Ctrl-C ends the program at once, with one line; call it before the first large import."""
    if signal.getsignal(signal.SIGINT) is _USUAL:  # else it is ignored, as in a shell's background jobs
        signal.signal(signal.SIGINT, partial(_quit, program))


def _quit(program: str, number: int, _: FrameType | None) -> None:
    os.write(2, f"\n{program}: interrupted; nothing was begun\n".encode())
    os._exit(128 + number)


def run(main: Callable[[], None]) -> None:
    """Runs a program, for which Ctrl-C is a KeyboardInterrupt; what it has ended with stays."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """KeyboardInterrupt, which no thread that waits for another process delays."""
    end_others()
    _USUAL(number, frame)
