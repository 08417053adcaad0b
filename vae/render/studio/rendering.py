"""`Rendering`: a command of render.py in a process of its own, which can be stopped, and its progress bars as numbers.

So a page renders as the command line does, a crash or a lack of memory ends one film, and users do not share a process.
"""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from data.system import signals

_START = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[3])!r})
from data.system.program import run_program
run_program("render", "vae.render.cli.main")
"""  # of a checkout, or of an installed package, which has no render.py
_PATIENCE = 10.0  # s, for a process that removes what is half-made
_BAR = re.compile(r"(?:(?P<stage>.*): +)?(?P<percent>\d+)%\|.*?\| *\d+/\d+ \[[^<]*<(?P<left>[^,\]]*)(?P<rest>.*)\]")
_NOTE = re.compile(r", ([\d.]+ dB)")


class Progress(NamedTuple):
    """A progress bar: its text, the share that is done in [0, 1], the time left as it says, and the decibels so far."""

    stage: str
    share: float
    left: str
    note: str


def parse_bar(line: str) -> Progress | None:
    """What a progress bar of tqdm says, or None where the line is none.

    >>> parse_bar("Tuning:  45%|####5     | 90/200 [00:05<00:06, 17.2it/s, 28.3 dB]")
    Progress(stage='Tuning', share=0.45, left='00:06', note='28.3 dB')
    >>> parse_bar("film.gif: 80 frames, 4.0 s")
    """
    match = _BAR.fullmatch(line.strip())
    if match is None:
        return None
    note = _NOTE.search(match["rest"])
    return Progress(match["stage"] or "", int(match["percent"]) / 100, match["left"], note[1] if note else "")


class Rendering:
    """A running command of render.py.

    Args:
        words: the command and its options.

    Attributes:
        words: the same.
        lines: what it printed so far, without progress bars.
        stopped: True once `stop` was called.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self.lines = tuple(words), list[str]()
        self.stopped = False
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"},
        )
        signals.child_processes[self._process.pid] = self._process.terminate

    def progress(self) -> Iterator[Progress]:
        """What its progress bars say, until it ends; then `lines` and `fault` are complete."""
        assert self._process.stdout is not None
        with io.TextIOWrapper(self._process.stdout, "utf-8", "replace", newline=None) as output:
            for line in output:  # universal newlines end at a carriage return, too
                if found := parse_bar(line):
                    yield found
                elif line.strip():
                    self.lines.append(line.strip())
        self._process.wait()
        signals.child_processes.pop(self._process.pid, None)

    @property
    def fault(self) -> str | None:
        """The line that says why it failed, as the command line prints it; None if it succeeded or runs."""
        if not self._process.poll():
            return None
        said = self.lines[-1].partition("render.py: ")[2] if self.lines else ""
        return said or "the renderer ended without a word; is there memory left? Ask for a smaller size"

    def stop(self) -> None:
        """Ends it, if it runs: what it has half-made is removed."""
        self.stopped = True
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        signals.child_processes.pop(self._process.pid, None)
