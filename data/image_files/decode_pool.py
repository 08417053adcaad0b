"""Pictures decoded in processes of their own: one whose decoder hangs, crashes or eats memory ends its process only."""

import json
import os
import queue
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from data.image_files.levels import FROM_PICTURE, WhiteLevels
from data.image_files.probe import Probe
from data.system.worker_process import TIMED_OUT, WorkerProcess, physical_memory

SECONDS = 30.0  # that a picture may take
MEMORY = 2 << 30  # bytes that a process may take
_LONGEST = 1 << 16  # bytes of an error message, or of a probe
_BATCH = 16  # requests that a process gets at once; for fewer another process does not pay
_AHEAD = 16  # batches that wait for one before them


class Part(NamedTuple):
    """A picture of a file; frames count from 0."""

    path: Path
    frame: int = 0


class DecodeRequest(NamedTuple):
    """A request to `decode_worker`.

    Attributes:
        path: of the file.
        content: the request in its JSON.
        most: bytes that its result may have.
    """

    path: Path
    content: bytes
    most: int

    @classmethod
    def of(cls, task: str, path: Path, *arguments: Any, most: int = 0) -> "DecodeRequest":
        return cls(path, json.dumps([task, str(path), *arguments]).encode(), max(most, _LONGEST))


class DecodeProcess:
    """A process that decodes, and is started again where it ends."""

    def __init__(self) -> None:
        self.process: WorkerProcess | None = None
        self._killed = False

    def answers(self, requests: list[DecodeRequest]) -> list[bytes | str]:
        """The result of each request, or an error message; a request over which the process ends is tried twice.

        Raises:
            UserError: no process can be started.
        """
        found: list[bytes | str] = []
        failed: set[int] = set()
        while len(found) < len(requests) and not self._killed:
            process = self.process = self.process or WorkerProcess(
                "data.image_files.decode_worker", [str(MEMORY)], "decode pictures"
            )
            if self._killed:  # while it was started
                break
            with suppress(OSError, EOFError):  # it has ended
                process.send(SECONDS, *(request.content for request in requests[len(found) :]))
                for request in requests[len(found) :]:
                    succeeded, content = process.receive(request.most)
                    found.append(content if succeeded else content.decode(errors="surrogatepass"))
                break
            self.process = None
            index, late = len(found), process.close() == TIMED_OUT
            if late or index in failed:
                fault = f"took longer than {SECONDS:g} s to decode" if late else "its decoder crashed"
                found.append(f"{requests[index].path}: {fault}")
            failed.add(index)  # once may have come from elsewhere
        return found

    def kill(self) -> None:
        """Ends the process for good, whatever it is doing for whichever thread."""
        self._killed = True
        if (process := self.process) is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process; called by the thread that reads."""
        process, self.process = self.process, None
        if process is not None:
            process.close()


class DecodePool:
    """Processes that probe and decode files, as many as there are cores and memory for; each starts when needed."""

    def __init__(self) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        memory = physical_memory()
        count = max(1, cores if memory is None else min(cores, memory // MEMORY))
        self._decoders = [DecodeProcess() for _ in range(count)]
        self._idle: queue.LifoQueue[DecodeProcess] = queue.LifoQueue()  # the last one has been started
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for decoder in self._decoders:
            decoder.kill()
        self._threads.shutdown()
        for decoder in self._decoders:
            decoder.close()

    def decode(
        self, parts: list[Part], size: int, channels: int, background: str, white: WhiteLevels = FROM_PICTURE
    ) -> Iterator[NDArray[np.uint8] | str]:
        """Decodes pictures; see `reader.PictureFile.pixels`.

        Yields:
            for each part its picture, (size, size, channels) uint8, or the error message, in the order of the parts.

        Raises:
            UserError: no process can be started.
        """
        shape = size, size, channels
        arguments = size, channels, background, white
        requests = [DecodeRequest.of("read", path, frame, *arguments, most=size**2 * channels) for path, frame in parts]
        for answer in self._answers(requests):
            yield answer if isinstance(answer, str) else np.frombuffer(answer, np.uint8).reshape(shape)

    def probe(self, paths: list[Path], all_frames: bool, brightness: bool) -> Iterator[Probe | str]:
        """Yields the `probe.probe` of each file, or the error message; otherwise as `decode`."""
        for answer in self._answers([DecodeRequest.of("probe", path, all_frames, brightness) for path in paths]):
            yield answer if isinstance(answer, str) else Probe(*json.loads(answer))

    def _answers(self, requests: list[DecodeRequest]) -> Iterator[bytes | str]:
        waiting: deque[Future[list[bytes | str]]] = deque()
        for start in range(0, len(requests), _BATCH):
            waiting.append(self._threads.submit(self._answer, requests[start : start + _BATCH]))
            if len(waiting) > _AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()

    def _answer(self, requests: list[DecodeRequest]) -> list[bytes | str]:
        decoder = self._idle.get()
        try:
            return decoder.answers(requests)
        finally:
            self._idle.put(decoder)
