"""Frame rates as exact fractions, and the durations of frames in whole ticks of a file's clock."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import count

_NTSC = (24, 30, 48, 60, 120)  # each times 1000/1001
_TOLERANCE = 0.005


def frame_rate(fps: float) -> Fraction:
    """Frames a second, exactly: the rates of NTSC are usually written with two or three decimals.

    >>> frame_rate(29.97), frame_rate(23.976), frame_rate(12.5)
    (Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2))
    """
    exact = (Fraction(1000 * whole, 1001) for whole in _NTSC)
    return next((rate for rate in exact if abs(rate - fps) < _TOLERANCE), Fraction(fps).limit_denominator(1001))


def frame_durations(fps: float, ticks_per_second: int) -> Iterator[int]:
    """The duration of each frame in ticks, without end.

    Rounding errors are carried forward: the sum of any number of durations is off by half a tick at most.

    >>> from itertools import islice
    >>> list(islice(frame_durations(30, 100), 4))
    [3, 4, 3, 3]
    """
    end, rate = 0, frame_rate(fps)
    for frames in count(1):
        start, end = end, round(ticks_per_second * frames / rate)
        yield end - start
