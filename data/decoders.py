"""Pictures decoded in processes of their own: one whose decoder hangs, crashes or eats memory ends its process only."""

import os
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from data.decoding import ANSWER, LATE, READY
from data.errors import UserError

Picture = NDArray[np.uint8]
_Answers = list[Picture | str]
SECONDS = 30.0  # that a picture may take
MEMORY = 2 << 30  # bytes that a process may take
_BATCH = 16  # files that a process is asked for at once; for fewer another process does not pay
_AHEAD = 16  # batches that wait for one before them


class Decoder:
    """A process that decodes pictures; where it ends, another takes its place.

    Args:
        size: side of the pictures.
        channels: 1 or 3.
        background: colour behind transparent pixels.
    """

    def __init__(self, size: int, channels: int, background: str) -> None:
        self.size, self.channels, self.background = size, channels, background
        self.process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def read(self, paths: list[Path]) -> list[Picture | str]:
        """For each file its picture, (size, size, channels), or why there is none.

        Raises:
            UserError: no process can be started.
        """
        found: list[Picture | str] = []
        again: set[int] = set()
        while len(found) < len(paths):
            process = self.process = self.process or self._start()
            with suppress(OSError, EOFError):  # it has ended
                self._ask(process, paths[len(found) :])
                while len(found) < len(paths):
                    found.append(self._answer(process))
                break
            self.close()
            index, late = len(found), process.returncode == LATE
            if late or index in again:
                reason = f"took longer than {SECONDS:g} s to decode" if late else "its decoder crashed"
                found.append(f"{paths[index]}: {reason}")
            again.add(index)  # what ended it may have come from elsewhere
        return found

    def kill(self) -> None:
        """Ends the process, whatever it is doing for whichever thread, and those that would come after it."""
        self._ended = True
        if (process := self.process) is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process; called by the thread that reads."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            with suppress(OSError):  # what was not sent
                process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        here = str(Path(__file__).resolve().parent.parent)
        paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        alone = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        words = [str(self.size), str(self.channels), self.background, str(SECONDS), str(MEMORY)]
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-m", "data.decoding", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **alone, "PYTHONPATH": paths},
            )
        except OSError as error:
            raise UserError(
                f"{sys.executable}: cannot be started to decode pictures ({error.strerror}); mend it"
            ) from None
        self.process = process
        if self._ended:
            process.kill()
        if _output(process).read(len(READY)) != READY:
            self.close()
            raise UserError(
                f"{sys.executable}: ends as soon as it is started to decode pictures; is there memory left? "
                f"PYTHONPATH={paths} python -m data.decoding {' '.join(words)} tells why"
            )
        return process

    def _ask(self, process: subprocess.Popen[bytes], paths: list[Path]) -> None:
        assert process.stdin is not None
        process.stdin.write(b"".join(os.fsencode(path).hex().encode() + b"\n" for path in paths) + b"\n")
        process.stdin.flush()

    def _answer(self, process: subprocess.Popen[bytes]) -> Picture | str:
        good, length = ANSWER.unpack(_exactly(_output(process), ANSWER.size))
        content = _exactly(_output(process), length)
        if good:
            return np.frombuffer(content, np.uint8).reshape(self.size, self.size, self.channels)
        return content.decode(errors="surrogatepass")


def decoded(paths: list[Path], size: int, channels: int, background: str) -> Generator[Picture | str, None, None]:
    """Pictures, decoded by as many processes as there are cores and memory for.

    Args:
        paths: the files.
        size: side of the pictures.
        channels: 1 or 3.
        background: colour behind transparent pixels.

    Yields:
        for each file its picture, (size, size, channels), or the reason why there is none.

    Raises:
        UserError: no process can be started.
    """
    decoders = [Decoder(size, channels, background) for _ in range(_processes(len(paths)))]
    idle: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
    for decoder in decoders:
        idle.put(decoder)

    def attempt(batch: list[Path]) -> list[Picture | str]:
        decoder = idle.get()
        try:
            return decoder.read(batch)
        finally:
            idle.put(decoder)

    pool = ThreadPoolExecutor(len(decoders))
    try:
        batches = (paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH))
        for found in _in_order(pool, attempt, batches):
            yield from found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for decoder in decoders:
            decoder.kill()
        pool.shutdown()
        for decoder in decoders:
            decoder.close()


def _in_order(
    pool: ThreadPoolExecutor, task: Callable[[list[Path]], _Answers], cases: Iterable[list[Path]]
) -> Iterator[_Answers]:
    waiting: deque[Future[_Answers]] = deque()
    for case in cases:
        waiting.append(pool.submit(task, case))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def _exactly(file: IO[bytes], length: int) -> bytes:
    content = file.read(length)
    if len(content) < length:
        raise EOFError
    return content


def _processes(count: int) -> int:
    """How many processes there are cores and memory for, and pictures for their start to pay."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MEMORY
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        most = cores
    return max(1, min(cores, most, -(-count // _BATCH)))
