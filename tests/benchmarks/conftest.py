"""Ratios of speed and memory, measured side by side in turn: `pytest -m benchmark` prints them as one table."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from benchmarks import ALL

MEASURED = pytest.StashKey[list["Row"]]()


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        what: was measured.
        threads: that torch had; None where that does not matter.
        found: the ratio, or the share.
        target: what was aimed at.
        more: whether more is better.
        limit: what the machine would allow at most; None if that is not known.
        detail: what else was seen.
    """

    what: str
    threads: int | None
    found: float
    target: float
    more: bool
    limit: float | None = None
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.found >= self.target if self.more else self.found <= self.target


@pytest.fixture(autouse=True)
def threads(request):
    """How many threads torch has, where the test is parametrized with it (`on_all_and_one`), else None for all."""
    count = getattr(request, "param", None)
    torch.set_num_threads(count or ALL)
    yield count
    torch.set_num_threads(ALL)


@pytest.fixture
def in_turn():
    return _in_turn


def _in_turn(*jobs: Callable[[], object], repeats: int = 5) -> list[float]:
    """The median seconds of each job, run in turn so that what else the machine does falls on all of them."""
    seconds: list[list[float]] = [[] for _ in jobs]
    for _ in range(repeats):
        for job, taken in zip(jobs, seconds, strict=True):
            start = time.perf_counter()
            job()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]


@pytest.fixture
def matrix_rate():
    """Floating-point operations a second of a large product of matrices: what networks could reach at best."""

    def measure(dtype: torch.dtype) -> float:
        a, b = torch.randn(2, 2048, 2048).to(dtype)
        (seconds,) = _in_turn(lambda: a @ b, repeats=15)
        return 2 * 2048**3 / seconds

    return measure


@pytest.fixture
def report(request, threads):
    """Adds a row to the table, and fails where even the promise, which may be less than the target, is not kept."""

    def add(
        what: str,
        found: float,
        target: float,
        *,
        more: bool = True,
        detail: str = "",
        promise: float | None = None,
        limit: float | None = None,
    ):
        row = Row(what, threads, found, target, more, limit, detail)
        request.config.stash.setdefault(MEASURED, []).append(row)
        assert row._replace(target=target if promise is None else promise).met, row

    return add


@pytest.fixture
def root() -> Path:
    return Path(__file__).parents[2]


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(MEASURED, [])
    if not rows:
        return
    processor = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    terminalreporter.section("benchmarks")
    write = terminalreporter.write_line
    write(f"{processor.partition(': ')[2] or platform.processor()}, {os.cpu_count()} cores")
    write(f"{'':<66}{'threads':>8}{'found':>8}  {'aimed at':<10}{'':<8}{'limit':>6}")
    for row in sorted(rows, key=lambda row: row.what):
        target = f"{'≥' if row.more else '≤'} {row.target:g}"
        limit = "" if row.limit is None else f"{row.limit:.1f}"
        met = "met" if row.met else "missed"
        write(f"{row.what:<66}{row.threads or '':>8}{row.found:>8.2f}  {target:<10}{met:<8}{limit:>6}  {row.detail}")
