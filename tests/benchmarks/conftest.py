"""Ratios of speed and memory, measured side by side in turn: `pytest -m benchmark` prints them as one table."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

MEASURED = pytest.StashKey[list["Row"]]()


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        what: was measured.
        found: the ratio, or the share.
        target: what was aimed at.
        more: whether more is better.
        detail: what else was seen.
    """

    what: str
    found: float
    target: float
    more: bool
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.found >= self.target if self.more else self.found <= self.target


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
def report(request):
    """Adds a row to the table, and fails where even the promise, which may be less than the target, is not kept."""

    def add(
        what: str, found: float, target: float, *, more: bool = True, detail: str = "", promise: float | None = None
    ):
        row = Row(what, found, target, more, detail)
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
    for row in rows:
        target = f"{'≥' if row.more else '≤'} {row.target:g}"
        write(f"{row.what:<58}{row.found:>8.2f}  {target:<8}{'met' if row.met else 'missed':<8}{row.detail}")
