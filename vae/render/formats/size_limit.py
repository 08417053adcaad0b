"""The best animation that fits into a file of limited size."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from data.system.errors import UserError
from vae.render.formats.format import FORMATS
from vae.render.formats.frame import Frame, resize
from vae.render.formats.writers import encode_animation

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
_SCALES = (0.75, 0.5, 0.375, 0.25, 0.125)
_SMALLEST_SIDE = 16
_FRAME_STEPS = (2, 3)


class LimitedAnimation(NamedTuple):
    """An animation that is small enough: its file, the frames in it, and what was reduced, in words."""

    content: bytes
    frame_indices: tuple[int, ...]
    reductions: str


class _Attempt(NamedTuple):
    """A way to encode an animation: a quality, some of the frames, a scale of their sides."""

    quality: int | None
    frame_indices: tuple[int, ...]
    scale: float = 1.0


def parse_size(text: str) -> int:
    """The number of bytes that a text like 2MB, 500 kB or 123456 means. Raises `UserError` if it is no size.

    >>> parse_size("2MB"), parse_size("1.5k"), parse_size("300")
    (2000000, 1500, 300)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", text.strip().lower())
    if not match or not 0 < float(match[1]) < 1e9:
        raise UserError(f"max_size {text!r}: not a size; write for example 2MB or 500kB")
    return int(float(match[1]) * _UNITS[match[2]])


def encode_within(
    frames: Sequence[Frame], suffix: str, fps: float, max_bytes: int, closed: bool = False, resample: str = "lanczos"
) -> LimitedAnimation:
    """The best encoding of an animation that has at most `max_bytes` bytes.

    Reduced are, in this order: the colours or the quality; the number of frames, to a half and to a third, while the
    duration stays; the size of the picture, by `resample`. Then the quality is raised again as far as the limit allows.
    The last frame is always kept, except where closed: a loop's frames stay evenly spaced.

    Raises:
        UserError: the limit is too small.
    """
    form, (height, width, _) = FORMATS[suffix], frames[0].shape

    @cache
    def encode(attempt: _Attempt) -> bytes:
        side = max(1, round(height * attempt.scale))
        kept = [resize(frames[index], side, resample) for index in attempt.frame_indices]
        return encode_animation(kept, suffix, fps * len(kept) / len(frames), attempt.quality)

    def first_that_fits(attempts: Sequence[_Attempt]) -> _Attempt:  # of falling sizes; the last one fits
        fits = bisect_left(attempts, True, hi=len(attempts) - 1, key=lambda each: len(encode(each)) <= max_bytes)
        return attempts[fits]

    attempts = list(_attempts(form.qualities, len(frames), min(height, width), closed))
    if (smallest := len(encode(attempts[-1]))) > max_bytes:
        raise UserError(
            f"max_size: with all reduced that can be, this {suffix} has {smallest:,} bytes, more than the "
            f"{max_bytes:,} asked for; allow more, or give fewer --frames"
        )
    fitting = first_that_fits(attempts)
    better = takewhile(lambda quality: quality != fitting.quality, (None, *form.qualities))
    best = first_that_fits([*(fitting._replace(quality=quality) for quality in better), fitting])

    words = []
    if best.quality is not None:
        unit = form.quality_option
        words.append(f"{best.quality} colours" if unit == "colours" else f"quality {best.quality}")
    if len(best.frame_indices) < len(frames):
        words.append(f"{len(best.frame_indices)} of {len(frames)} frames")
    if best.scale < 1:
        words.append(f"{best.scale:.0%} of the side")
    return LimitedAnimation(encode(best), best.frame_indices, ", ".join(words) or "nothing reduced")


def _attempts(qualities: Sequence[int], count: int, side: int, closed: bool) -> Iterator[_Attempt]:
    """Ways to encode so many frames of such a side, from the best to the smallest."""
    indices = tuple(range(count))
    for quality in (None, *qualities):
        yield _Attempt(quality, indices)
    for step in _FRAME_STEPS:
        if count >= 2 * step and not (closed and count % step):
            spaced = range(0, count, step) if closed else np.linspace(0, count - 1, count // step).round().astype(int)
            indices = tuple(map(int, spaced))
            yield _Attempt(quality, indices)
    for scale in _SCALES:
        if side * scale >= _SMALLEST_SIDE:
            yield _Attempt(quality, indices, scale)
