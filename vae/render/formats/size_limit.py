"""The best animation that fits into a file of limited size."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from data.system.errors import UserError
from vae.render.formats.frame import Frame, resize
from vae.render.formats.table import FORMATS
from vae.render.formats.writers import encode_animation

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
_SCALES = (0.75, 0.5, 0.375, 0.25, 0.125)
_SMALLEST_SIDE = 16
_FRAME_STEPS = (2, 3)


@dataclass(frozen=True)
class LimitedAnimation:
    """An animation that is small enough.

    Attributes:
        content: the bytes of the file.
        frame_indices: those of the frames that it has.
        reductions: what was reduced, in words.
    """

    content: bytes
    frame_indices: list[int]
    reductions: str


@dataclass(frozen=True)
class _Attempt:
    """A way to encode an animation: a quality, some of the frames, a scale of their sides."""

    quality: int | None
    frame_indices: tuple[int, ...]
    scale: float = 1.0


def parse_size(text: str) -> int:
    """The number of bytes that a text like 2MB, 500 kB or 123456 means; kilo is 1000.

    Raises:
        UserError: not a size.

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
    duration stays; the size of the picture. Then the quality is raised again as far as the limit allows. The last frame
    is always kept, except in a loop, whose frames stay evenly spaced.

    Args:
        frames: (H, W, 3) uint8.
        suffix: one of `vae.render.formats.table.FORMATS`.
        fps: frames a second.
        max_bytes: the limit.
        closed: whether the animation is a loop.
        resample: how pictures are made smaller, see `vae.render.formats.frame.resize`.

    Raises:
        UserError: the limit is too small.
    """
    attempts = list(_attempts(suffix, len(frames), min(frames[0].shape[:2]), closed))
    encoded: dict[_Attempt, bytes] = {}

    def size(attempt: _Attempt) -> int:
        if attempt not in encoded:
            encoded[attempt] = _encode(frames, suffix, fps, attempt, resample)
        return len(encoded[attempt])

    if (smallest := size(attempts[-1])) > max_bytes:
        raise UserError(
            f"max_size: with all reduced that can be, this {suffix} has {smallest:,} bytes, more than the "
            f"{max_bytes:,} asked for; allow more, or give fewer --frames"
        )

    def first_that_fits(attempts: Sequence[_Attempt]) -> _Attempt:  # of falling sizes; the last one fits
        return attempts[bisect_left(attempts, True, hi=len(attempts) - 1, key=lambda each: size(each) <= max_bytes)]

    fitting = first_that_fits(attempts)
    better = takewhile(lambda quality: quality != fitting.quality, (None, *FORMATS[suffix].qualities))
    best = first_that_fits([*(replace(fitting, quality=quality) for quality in better), fitting])
    return LimitedAnimation(encoded[best], list(best.frame_indices), _describe(best, suffix, len(frames)))


def _attempts(suffix: str, count: int, side: int, closed: bool) -> Iterator[_Attempt]:
    """Ways to encode so many frames of such a side, from the best to the smallest."""
    indices = tuple(range(count))
    yield _Attempt(None, indices)
    for quality in FORMATS[suffix].qualities:
        yield _Attempt(quality, indices)
    for step in _FRAME_STEPS:
        if count >= 2 * step and not (closed and count % step):
            spaced = range(0, count, step) if closed else np.linspace(0, count - 1, count // step).round().astype(int)
            indices = tuple(int(index) for index in spaced)
            yield _Attempt(quality, indices)
    for scale in _SCALES:
        if side * scale >= _SMALLEST_SIDE:
            yield _Attempt(quality, indices, scale)


def _encode(frames: Sequence[Frame], suffix: str, fps: float, attempt: _Attempt, resample: str) -> bytes:
    height = max(1, round(frames[0].shape[0] * attempt.scale))
    kept = [resize(frames[index], height, resample) for index in attempt.frame_indices]
    return encode_animation(kept, suffix, fps * len(kept) / len(frames), attempt.quality)


def _describe(attempt: _Attempt, suffix: str, count: int) -> str:
    """The reductions of an attempt, in words."""
    words = []
    if attempt.quality is not None:
        unit = FORMATS[suffix].quality_unit
        words.append(f"{attempt.quality} colours" if unit == "colours" else f"quality {attempt.quality}")
    if len(attempt.frame_indices) < count:
        words.append(f"{len(attempt.frame_indices)} of {count} frames")
    if attempt.scale < 1:
        words.append(f"{attempt.scale:.0%} of the side")
    return ", ".join(words) or "nothing reduced"
