"""A process of its own for work that may hang, crash or take all memory: it then ends that process only.

The one who asks starts a module of this project by `Worker`. That module answers on its standard output, by `serving`
and `reply`, and limits itself: its memory for good, its time by `set_alarm` while it is busy with a request.
"""

import faulthandler
import os
import signal
import struct
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from data.system import signals
from data.system.errors import UserError

LATE = -signal.SIGALRM if hasattr(signal, "SIGALRM") else 1  # how it ends when a request takes too long
_ANSWER = struct.Struct("<?Q")  # whether it is one, or else a reason; the bytes that follow
_READY = b"ready\n"
_HERE = str(Path(__file__).resolve().parents[2])


class Worker:
    """A running process, which ends when this object does, at the latest.

    Args:
        module: what it runs, `data.image_files.decode_worker` for example.
        words: the module's arguments.
        purpose: what it is for, as the end of a sentence.

    Raises:
        UserError: it cannot be started.
    """

    def __init__(self, module: str, words: Sequence[str], purpose: str) -> None:
        self._purpose = purpose
        paths = os.pathsep.join(filter(None, [_HERE, os.environ.get("PYTHONPATH")]))
        alone = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        self._again = f"PYTHONPATH={paths} python -m {' '.join([module, *words])}"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-m", module, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **alone, "PYTHONPATH": paths},
            )
        except OSError as error:
            raise UserError(f"{sys.executable}: cannot be started to {purpose} ({error.strerror}); mend it") from None
        signals.others[self._process.pid] = self._process.kill
        weakref.finalize(self, _end, self._process)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Returns when it can be asked. Raises `UserError` if it ends before."""
        if _output(self._process).read(len(_READY)) != _READY:
            self.close()
            raise UserError(
                f"{sys.executable}: ends as soon as it is started to {self._purpose}; is there memory left? "
                f"{self._again} tells why"
            )

    def ask(self, request: bytes) -> None:
        """Sends a request. Raises `OSError` or `EOFError` if the process has ended."""
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise EOFError
        self._process.stdin.write(request)
        self._process.stdin.flush()

    def answer(self, most: int) -> tuple[bool, bytes]:
        """Whether a request could be fulfilled, and the answer or else the reason.

        Args:
            most: bytes that an answer may have.

        Raises:
            EOFError: the process has ended, or does not answer as it should.
        """
        good, length = _ANSWER.unpack(self._read(_ANSWER.size))
        if length > most:
            raise EOFError
        return good, self._read(length)

    def _read(self, length: int) -> bytes:
        content = _output(self._process).read(length)
        if len(content) < length:
            raise EOFError
        return content

    def kill(self) -> None:
        """Ends the process, whatever it is doing for whichever thread."""
        self._process.kill()

    def close(self) -> int:
        """Ends the process, called by the thread that asks; returns how it has ended: `LATE` if it took too long."""
        _end(self._process)
        return self._process.returncode


def physical_memory() -> int | None:
    """Bytes of memory that this machine has, None if its system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    signals.others.pop(process.pid, None)
    process.kill()
    with suppress(OSError, ValueError):  # what was not sent; it is closed already
        process.communicate()


@contextmanager
def serving(memory: int) -> Iterator[IO[bytes]]:
    """Where a module's answers go, while its memory is limited to so many bytes; others that print say nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides what Ctrl-C ends
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limits, others may have lower ones
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        answers.write(_READY)
        answers.flush()
        yield answers


def reply(answers: IO[bytes], good: bool, *parts: bytes | memoryview) -> None:
    """Answers a request by bytes, or gives the reason why it cannot be fulfilled."""
    answers.write(_ANSWER.pack(good, sum(map(len, parts))))
    for part in parts:
        answers.write(part)
    answers.flush()


def set_alarm(seconds: float) -> None:
    """Ends this process after so many seconds, even from within a library; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
    elif seconds:
        faulthandler.dump_traceback_later(seconds, exit=True)
    else:
        faulthandler.cancel_dump_traceback_later()
