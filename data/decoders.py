"""Pictures decoded in processes of their own: one whose decoder hangs, crashes or eats memory ends its process only."""

import os
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.worker import LATE, Worker, physical_memory

Picture = NDArray[np.uint8]
_Answers = list[Picture | str]
SECONDS = 30.0  # that a picture may take
MEMORY = 2 << 30  # bytes that a process may take
_LONGEST = 1 << 16  # bytes of a reason
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
        self.process: Worker | None = None
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
                names = (os.fsencode(path).hex().encode() + b"\n" for path in paths[len(found) :])
                process.ask(b"".join(names) + b"\n")
                while len(found) < len(paths):
                    found.append(self._answer(process))
                break
            self.process = None
            index, late = len(found), process.close() == LATE
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
            process.close()

    def _start(self) -> Worker:
        words = [str(self.size), str(self.channels), self.background, str(SECONDS), str(MEMORY)]
        process = self.process = Worker("data.decoding", words, "decode pictures")
        if self._ended:
            process.kill()
        process.wait_until_ready()
        return process

    def _answer(self, process: Worker) -> Picture | str:
        good, content = process.answer(max(self.size**2 * self.channels, _LONGEST))
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


def _processes(count: int) -> int:
    """How many processes there are cores and memory for, and pictures for their start to pay."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = physical_memory()
    most = cores if memory is None else memory // MEMORY
    return max(1, min(cores, most, -(-count // _BATCH)))
