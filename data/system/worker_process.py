"""Processes for work that may hang, crash or take all memory: it then ends its own process only.

The client starts a module of this project as a `WorkerProcess` and sends it requests; the module calls `serve`, which
limits its memory for good and the time of each request. Both sides exchange bytes alone, never pickles: a process
that decodes hostile files is not trusted.
"""

import faulthandler
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from data.system import signals
from data.system.errors import UserError

TIMED_OUT = 1  # exit code where a request takes too long: that of faulthandler
_CRASHED = 2
_REQUEST = struct.Struct("<dQ")  # seconds that it may take; the bytes that follow
_ANSWER = struct.Struct("<?Q")  # whether it is a result, or else an error message; the bytes that follow
_READY = b"ready\n"
_ROOT = str(Path(__file__).resolve().parents[2])


class WorkerProcess:
    """A running module, as `data.image_files.decode_worker`, which ends when this object does, at the latest.

    Raises `UserError` if it cannot be started for the purpose, which the message names.
    """

    def __init__(self, module: str, arguments: Sequence[str], purpose: str) -> None:
        paths = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
        one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **one_thread, "PYTHONPATH": paths},
            )
        except OSError as error:
            raise UserError(f"{sys.executable}: cannot be started to {purpose} ({error.strerror}); mend it") from None
        signals.child_processes[self._process.pid] = self._process.kill
        weakref.finalize(self, _end, self._process)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        if self._stdout.read(len(_READY)) != _READY:
            self.close()
            raise UserError(f"{sys.executable}: ends as soon as it is started to {purpose}; is there memory left?")

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: bytes, seconds: float, most: int) -> tuple[bool, bytes]:
        """Whether a request succeeded, and its result of at most so many bytes, or the error message.

        Raises `OSError` or `EOFError` if the process has ended, at the latest after so many seconds, or answers more.
        """
        if self._stdin.closed:
            raise EOFError
        self._stdin.write(_REQUEST.pack(seconds, len(request)) + request)
        self._stdin.flush()
        succeeded, length = _ANSWER.unpack(self._read(_ANSWER.size))
        if length > most:
            raise EOFError
        return succeeded, self._read(length)

    def _read(self, length: int) -> bytes:
        content = self._stdout.read(length)
        if len(content) < length:
            raise EOFError
        return content

    def kill(self) -> None:
        """Ends the process, whatever it is doing for whichever thread."""
        self._process.kill()

    def close(self) -> int:
        """Ends the process, called by the thread that asks; returns its exit code."""
        _end(self._process)
        return self._process.returncode


def physical_memory() -> int | None:
    """Bytes of memory that this machine has, None if its system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    signals.child_processes.pop(process.pid, None)
    process.kill()
    with suppress(OSError, ValueError):  # what was not sent; it is closed already
        process.communicate()


def serve(answer: Callable[[bytes], Sequence[bytes | memoryview]], memory: int) -> None:
    """The main loop of a worker's module: answers requests until standard input ends, whoever closes it.

    Args:
        answer: request → the parts of its result; a `UserError` that it raises is sent as the error message.
        memory: bytes that the process may take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client decides what Ctrl-C ends
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limits, others may have lower ones
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    requests: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what libraries print goes nowhere
        answers.write(_READY)
        answers.flush()
        threading.Thread(target=_receive_requests, args=(requests,), daemon=True).start()
        try:
            while True:
                seconds, request = requests.get()
                faulthandler.dump_traceback_later(seconds, exit=True)  # ends this process from within any library
                try:
                    succeeded, parts = True, answer(request)
                except UserError as error:
                    succeeded, parts = False, [str(error).encode(errors="surrogatepass")]
                faulthandler.cancel_dump_traceback_later()
                answers.writelines([_ANSWER.pack(succeeded, sum(map(len, parts))), *parts])
                answers.flush()
        except BaseException:
            os._exit(_CRASHED)


def _receive_requests(requests: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    """Reads standard input; ends the process with it, even while a request is being answered."""
    while len(head := sys.stdin.buffer.read(_REQUEST.size)) == _REQUEST.size:
        seconds, length = _REQUEST.unpack(head)
        requests.put((seconds, sys.stdin.buffer.read(length)))
    os._exit(0)
