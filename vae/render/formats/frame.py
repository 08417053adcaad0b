"""Frames of animations, uint8 (H, W, 3): their sizes, and how long each is shown."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import count

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frame = NDArray[np.uint8]
_NTSC = (24, 30, 48, 60, 120)  # each times 1000/1001
_TOLERANCE = 0.005


def resize(frame: Frame, height: int, resample: str) -> Frame:
    """The frame at another height and the same aspect ratio; `nearest` keeps hard pixels, `lanczos` is smooth."""
    if frame.shape[0] == height:
        return frame
    width = max(1, round(frame.shape[1] * height / frame.shape[0]))
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling[resample.upper()]))


def frame_rate(fps: float) -> Fraction:
    """Frames a second, exactly: the rates of NTSC are usually written with two or three decimals.

    >>> frame_rate(29.97), frame_rate(23.976), frame_rate(12.5)
    (Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2))
    """
    exact = (Fraction(1000 * whole, 1001) for whole in _NTSC)
    return next((rate for rate in exact if abs(rate - fps) < _TOLERANCE), Fraction(fps).limit_denominator(1001))


def frame_durations(fps: float, ticks_per_second: int) -> Iterator[int]:
    """The durations of frames in ticks, without end; any number of them is off by half a tick at most.

    >>> from itertools import islice
    >>> list(islice(frame_durations(30, 100), 4))
    [3, 4, 3, 3]
    """
    end, rate = 0, frame_rate(fps)
    for frames in count(1):
        start, end = end, round(ticks_per_second * frames / rate)
        yield end - start
