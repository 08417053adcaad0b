"""One line for each number that was measured."""

import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import torch

_ROUNDS = 3


class Measured(NamedTuple):
    """A number that was measured.

    Attributes:
        name: what was measured.
        value: the number.
        unit: its unit.
        size: of the pictures, in pixels.
        batch: pictures at once.
        most: the largest number that is allowed; None if any is.
    """

    name: str
    value: float
    unit: str
    size: int
    batch: int
    most: float | None = None

    @property
    def allowed(self) -> bool:
        """False for a number above the largest, and for one that is not a number."""
        return self.most is None or self.value <= self.most

    def __str__(self) -> str:
        return json.dumps({key: value for key, value in self._asdict().items() if value is not None})


def wait(device: torch.device) -> None:
    """Waits until the device has done all that it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(job: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The time that a job takes when it is done again and again: the median of three rounds, after one to warm up."""
    rounds = []
    for _ in range(_ROUNDS + 1):
        wait(device)
        start = time.perf_counter()
        for _ in range(repeats):
            job()
        wait(device)
        rounds.append((time.perf_counter() - start) / repeats)
    return median(rounds[1:])


def peak_memory(job: Callable[[], object], device: torch.device) -> float:
    """MiB that tensors take at most while a job runs, those that were there before included; 0 on a CPU."""
    if device.type != "cuda":
        return 0.0
    torch.cuda.reset_peak_memory_stats(device)
    job()
    wait(device)
    return torch.cuda.max_memory_allocated(device) / 2**20


@contextmanager
def waiting_is_an_error(device: torch.device) -> Iterator[None]:
    """A context in which an operation that makes the host wait for a GPU raises an error."""
    if device.type != "cuda":
        yield
        return
    wait(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def waits(job: Callable[[], object], repeats: int, device: torch.device) -> bool:
    """True if the host waits for the device while it does a job; where, is printed as a traceback."""
    try:
        with waiting_is_an_error(device):
            for _ in range(repeats):
                job()
    except RuntimeError as fault:
        if "synchroniz" not in str(fault):
            raise
        traceback.print_exc()
        return True
    return False


@contextmanager
def exact_float32() -> Iterator[None]:
    """A context without TF32, which cuDNN uses for float32 unless it is told not to."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
