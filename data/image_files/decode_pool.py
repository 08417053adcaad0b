"""Pictures decoded in processes of their own: one whose decoder hangs, crashes or eats memory ends its process only."""

import json
import os
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from data.image_files.levels import FOUND, White
from data.image_files.probe import Probe
from data.system.worker import LATE, Worker, physical_memory

Picture = NDArray[np.uint8]
_Answers = list[bytes | str]
Case = TypeVar("Case")
Found = TypeVar("Found")
SECONDS = 30.0  # that a picture may take
MEMORY = 2 << 30  # bytes that a process may take
_LONGEST = 1 << 16  # bytes of a reason, or of what a file holds
_BATCH = 16  # pictures that a process is asked for at once; for fewer another process does not pay
_AHEAD = 16  # batches that wait for one before them


class Part(NamedTuple):
    """One of a file's pictures, counted from 0."""

    path: Path
    frame: int = 0


class Decoder:
    """A process that decodes pictures; where it ends, another takes its place.

    Args:
        size: side of the pictures.
        channels: 1 or 3.
        background: colour behind transparent pixels.
        white: which level of more than 8 bits is white.
    """

    def __init__(self, size: int, channels: int, background: str, white: White = FOUND) -> None:
        self.size, self.channels, self.background, self.white = size, channels, background, white
        self.process: Worker | None = None
        self._ended = False

    def read(self, parts: list[Part]) -> list[Picture | str]:
        """For each part its picture, (size, size, channels), or why there is none.

        Raises:
            UserError: no process can be started.
        """
        shape = self.size, self.size, self.channels
        answers = self.ask([(part.path, f"read {_hex(part.path)} {part.frame}") for part in parts])
        return [one if isinstance(one, str) else np.frombuffer(one, np.uint8).reshape(shape) for one in answers]

    def probe(self, paths: list[Path], all_frames: bool, brightness: bool) -> list[Probe | str]:
        """What each file holds, or why that is not known; see `data.image_files.probe`.

        Raises:
            UserError: no process can be started.
        """
        answers = self.ask([(path, f"probe {_hex(path)} {all_frames} {brightness}") for path in paths])
        return [one if isinstance(one, str) else Probe(*json.loads(one)) for one in answers]

    def ask(self, lines: list[tuple[Path, str]]) -> _Answers:
        """Asks for what `decode_worker` knows of files, and tries again where the process ends over one."""
        found: _Answers = []
        again: set[int] = set()
        while len(found) < len(lines):
            process = self.process = self.process or self._start()
            with suppress(OSError, EOFError):  # it has ended
                process.ask("\n".join([*(line for _, line in lines[len(found) :]), "", ""]).encode())
                while len(found) < len(lines):
                    found.append(self._answer(process))
                break
            self.process = None
            index, late = len(found), process.close() == LATE
            if late or index in again:
                reason = f"took longer than {SECONDS:g} s to decode" if late else "its decoder crashed"
                found.append(f"{lines[index][0]}: {reason}")
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
        words = [str(word) for word in (self.size, self.channels, self.background, *self.white, SECONDS, MEMORY)]
        process = self.process = Worker("data.image_files.decode_worker", words, "decode pictures")
        if self._ended:
            process.kill()
        process.wait_until_ready()
        return process

    def _answer(self, process: Worker) -> bytes | str:
        good, content = process.answer(max(self.size**2 * self.channels, _LONGEST))
        return content if good else content.decode(errors="surrogatepass")


def decoded(
    parts: list[Part], size: int, channels: int, background: str, white: White = FOUND
) -> Generator[Picture | str, None, None]:
    """Pictures, decoded by as many processes as there are cores and memory for.

    Args:
        parts: of files.
        size: side of the pictures.
        channels: 1 or 3.
        background: colour behind transparent pixels.
        white: which level of more than 8 bits is white.

    Yields:
        for each part its picture, (size, size, channels), or the reason why there is none.

    Raises:
        UserError: no process can be started.
    """
    return _shared(parts, lambda: Decoder(size, channels, background, white), Decoder.read)


def probed(paths: list[Path], all_frames: bool, brightness: bool) -> Generator[Probe | str, None, None]:
    """What files hold, looked up by as many processes as there are cores and memory for; see `Decoder.probe`."""

    def task(decoder: Decoder, some: list[Path]) -> list[Probe | str]:
        return decoder.probe(some, all_frames, brightness)

    return _shared(paths, lambda: Decoder(1, 1, "white"), task)


def _shared(
    cases: list[Case], decoder: Callable[[], Decoder], task: Callable[[Decoder, list[Case]], list[Found]]
) -> Generator[Found, None, None]:
    """What processes make of cases, in the cases' order."""
    decoders = [decoder() for _ in range(_processes(len(cases)))]
    idle: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
    for one in decoders:
        idle.put(one)

    def attempt(batch: list[Case]) -> list[Found]:
        free = idle.get()
        try:
            return task(free, batch)
        finally:
            idle.put(free)

    pool = ThreadPoolExecutor(len(decoders))
    try:
        batches = (cases[start : start + _BATCH] for start in range(0, len(cases), _BATCH))
        for found in _in_order(pool, attempt, batches):
            yield from found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for one in decoders:
            one.kill()
        pool.shutdown()
        for one in decoders:
            one.close()


def _in_order(
    pool: ThreadPoolExecutor, task: Callable[[list[Case]], list[Found]], batches: Iterable[list[Case]]
) -> Iterator[list[Found]]:
    waiting: deque[Future[list[Found]]] = deque()
    for batch in batches:
        waiting.append(pool.submit(task, batch))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _hex(path: Path) -> str:
    return os.fsencode(path).hex()


def _processes(count: int) -> int:
    """How many processes there are cores and memory for, and pictures for their start to pay."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = physical_memory()
    most = cores if memory is None else memory // MEMORY
    return max(1, min(cores, most, -(-count // _BATCH)))
