"""The words of the progress bar: what a training can do by now, and how long it still takes."""

import math
import time
from typing import NamedTuple

from data.system.bars import Bar

_WIDE = 95  # columns
_SURE = 0.03  # of a training, after which its pace can say that it takes longer than the minutes that were planned


class Numbers(NamedTuple):
    """What a bar shows beside the time; None and nan are not known.

    Attributes:
        rate: pictures a second in steps.
        elbo: nats per image.
        reconstructions: their sharpness, of that of the pictures.
        morphs: the sharpness of the blurriest frame of one.
    """

    rate: float | None = None
    elbo: float | None = None
    reconstructions: float = math.nan
    morphs: float = math.nan

    def describe(self, columns: int | None = None) -> str:
        """The numbers in words, fewer where a line has few columns.

        >>> Numbers(312.4, 5321.2, 0.61, 0.43).describe()
        '312 pictures/s, ELBO 5321, reconstructions 61% sharp, morphs 43%'
        >>> Numbers(3.14).describe(80)
        '3.1/s'
        """
        parts = []
        if self.rate is not None:
            unit = "/s" if columns is not None and columns < _WIDE else " pictures/s"
            parts.append(f"{self.rate:,.{0 if self.rate >= 10 else 1}f}{unit}")
        if self.elbo is not None and math.isfinite(self.elbo):
            parts.append(f"ELBO {self.elbo:.0f}")
        if not math.isnan(self.reconstructions):
            parts.append(f"reconstructions {self.reconstructions:.0%} sharp")
        if not math.isnan(self.morphs):
            parts.append(f"morphs {self.morphs:.0%}")
        return ", ".join(parts)


class Clock:
    """The time that a training still takes: what is left of its minutes, or more where its pace says so.

    Args:
        minutes: of the whole training; None where epochs or steps are planned.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self._seconds = None if minutes is None else 60 * minutes
        self._start = self._begin = 0.0  # of the training; of its pace, moved on by the pauses since
        self._first, self._paced_from = 0.0, 0.0  # shares that were done then
        self._paused: float | None = None
        self.planned = minutes is None

    def begin(self, share: float, planned: bool) -> None:
        """Starts at that share of the work; `planned` says whether shares are known, or follow the clock."""
        self._start = self._begin = time.monotonic()
        self._first = self._paced_from = share
        self.planned = planned or self._seconds is None

    def plan(self, share: float) -> None:
        """Takes the pace from here on: only now is the share of the work that was done known."""
        self._begin, self._paced_from, self.planned = time.monotonic(), share, True

    def pause(self) -> None:
        """Begins something that comes once and says nothing about the pace."""
        self._paused = self._paused or time.monotonic()

    def go_on(self) -> None:
        """Ends the pause."""
        if self._paused is not None:
            self._begin += time.monotonic() - self._paused
        self._paused = None

    def share(self) -> float:
        """The share of the minutes that has passed."""
        return min(1.0, (time.monotonic() - self._start) / self._seconds) if self._seconds else 0.0

    def describe(self, share: float, ended: bool = False) -> str:
        """The time that is left at that share, as far as anybody knows; at the end the time that it took."""
        now, done = time.monotonic(), share - self._paced_from
        if ended:
            return f"in {Bar.format_interval(now - self._start)}"
        found = []
        if self._seconds:
            found.append(max(0.0, self._seconds * (1 - self._first) - (now - self._start)))
        if self.planned and done > (_SURE if self._seconds else 0):
            found.append(((self._paused or now) - self._begin) * (1 - share) / done)
        return f"{Bar.format_interval(max(found))} left" if found else ""
