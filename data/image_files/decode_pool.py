"""Pictures decoded in processes of their own: one whose decoder hangs, crashes or eats memory ends its process only."""

import json
import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from data.fit import Fit
from data.image_files.reader import Probe
from data.system.worker_process import TIMED_OUT, WorkerProcess, physical_memory

SECONDS = 30.0  # that a picture may take
MEMORY = 2 << 30  # bytes that a process may take
_LONGEST = 1 << 24  # bytes of an answer
_BATCH = 16  # requests in a row to one process; for fewer another one does not pay
_AHEAD = 16  # batches that wait for one before them

Request = tuple[Any, ...]  # to `decode_worker`: plain values, of which the second is the file


class Part(NamedTuple):
    """A picture of a file; frames count from 0."""

    path: Path
    frame: int = 0


class DecodeProcess:
    """A process that decodes, and is started again where it ends."""

    def __init__(self) -> None:
        self.process: WorkerProcess | None = None
        self._killed = False

    def answer(self, request: Request) -> bytes | str:
        """The result of a request, or an error message; one over which the process ends is tried twice."""
        fault = "its decoder crashed"
        for _ in range(2):  # once may have come from elsewhere
            if self.process is None and not self._killed:
                self.process = WorkerProcess("data.image_files.decode_worker", [str(MEMORY)], "decode pictures")
            if self.process is None or self._killed:  # while it was started
                break
            try:
                succeeded, content = self.process.ask(json.dumps(request).encode(), SECONDS, _LONGEST)
                return content if succeeded else content.decode(errors="surrogatepass")
            except (OSError, EOFError):  # it has ended
                process, self.process = self.process, None
                if process.close() == TIMED_OUT:
                    fault = f"took longer than {SECONDS:g} s to decode"
                    break
        return f"{request[1]}: {fault}"

    def kill(self) -> None:
        """Ends the process for good, whatever it is doing for whichever thread."""
        self._killed = True
        if (process := self.process) is not None:
            process.kill()


class DecodePool:
    """Processes that probe and decode files, as many as there are cores and memory for; each starts when needed."""

    def __init__(self) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = max(1, min(cores, (physical_memory() or cores * MEMORY) // MEMORY))
        self._decoders = [DecodeProcess() for _ in range(count)]
        self._idle: queue.LifoQueue[DecodeProcess] = queue.LifoQueue()  # the last one has been started
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes, whatever they are doing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for decoder in self._decoders:
            decoder.kill()
        self._threads.shutdown()

    def decode(
        self,
        parts: Iterable[Part],
        size: int,
        channels: int,
        background: str,
        white: Mapping[str, float] | None = None,
        fit: Fit = "crop",
    ) -> Iterator[NDArray[np.uint8] | str]:
        """Yields of each part its picture, (size, size, channels) uint8, or the error message; in their order.

        See `reader.PictureFile.pixels`. Raises `UserError` if no process can be started.
        """
        arguments = size, channels, background, dict(white or {}), fit
        for answer in self._answers([("read", str(path), frame, *arguments) for path, frame in parts]):
            yield answer if isinstance(answer, str) else np.frombuffer(answer, np.uint8).reshape(size, size, channels)

    def probe(self, paths: Iterable[Path], all_frames: bool, brightness: bool) -> Iterator[Probe | str]:
        """Yields the `PictureFile.probe` of each file, or the error message; otherwise as `decode`."""
        for answer in self._answers([("probe", str(path), all_frames, brightness) for path in paths]):
            yield answer if isinstance(answer, str) else Probe(*json.loads(answer))

    def _answers(self, requests: list[Request]) -> Iterator[bytes | str]:
        waiting: deque[Future[list[bytes | str]]] = deque()
        for start in range(0, len(requests), _BATCH):
            waiting.append(self._threads.submit(self._answer, requests[start : start + _BATCH]))
            if len(waiting) > _AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()

    def _answer(self, requests: list[Request]) -> list[bytes | str]:
        decoder = self._idle.get()
        try:
            return [decoder.answer(request) for request in requests]
        finally:
            self._idle.put(decoder)
