"""Animations of the size that was asked for: the best that fits."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from data.system.errors import UserError
from vae.render.formats.encoders import QUALITIES, encode
from vae.render.formats.frame import Frame, resize

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
_SCALES = (0.75, 0.5, 0.375, 0.25, 0.125)
_SMALLEST = 16
_THINNINGS = (2, 3)


class Fitted(NamedTuple):
    """An animation that is small enough.

    Attributes:
        content: the file's bytes.
        kept: which of the frames it has.
        sacrifice: in words what was given up.
    """

    content: bytes
    kept: list[int]
    sacrifice: str


class _Attempt(NamedTuple):
    quality: int | None = None
    kept: tuple[int, ...] = ()
    scale: float = 1.0


def parse_size(words: str) -> int:
    """Bytes: 2MB, 500 kB, 123456; kilo is 1000.

    Raises:
        UserError: not a size.

    >>> parse_size("2MB"), parse_size("1.5k"), parse_size("300")
    (2000000, 1500, 300)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", words.strip().lower())
    if not match or not 0 < float(match[1]) < 1e9:
        raise UserError(f"max_size {words!r}: not a size; write for example 2MB or 500kB")
    return int(float(match[1]) * _UNITS[match[2]])


def fit(
    frames: Sequence[Frame], suffix: str, fps: float, limit: int, closed: bool = False, resample: str = "lanczos"
) -> Fitted:
    """The first encoding of frames, from the best downwards, that has at most `limit` bytes.

    What is given up, in this order: colours or quality, then a half and two thirds of the frames at true duration, then
    the size of the picture; what quality then still fits comes back. The last frame stays, unless the animation is a
    loop, which stays even.

    Args:
        frames: (H, W, 3) uint8.
        suffix: one of `vae.render.formats.encoders.SUFFIXES`.
        fps: frames a second.
        limit: in bytes.
        closed: whether it is a loop.
        resample: how a smaller picture is made.

    Raises:
        UserError: nothing fits.
    """
    attempts = list(_attempts(suffix, len(frames), min(frames[0].shape[:2]), closed))
    found: dict[_Attempt, bytes] = {}

    def size(attempt: _Attempt) -> int:
        if attempt not in found:
            found[attempt] = _encoded(frames, suffix, fps, attempt, resample)
        return len(found[attempt])

    if (smallest := size(attempts[-1])) > limit:
        raise UserError(
            f"max_size: with all given up that can be, this {suffix} has {smallest:,} bytes, more than the {limit:,} "
            "asked for; allow more, or give fewer --frames"
        )

    def first_that_fits(downwards: Sequence[_Attempt]) -> _Attempt:  # of which the last does
        return downwards[bisect_left(downwards, True, hi=len(downwards) - 1, key=lambda each: size(each) <= limit)]

    enough = first_that_fits(attempts)
    better = takewhile(lambda quality: quality != enough.quality, (None, *QUALITIES[suffix]))
    best = first_that_fits([*(enough._replace(quality=quality) for quality in better), enough])
    return Fitted(found[best], list(best.kept), _in_words(best, suffix, len(frames)))


def _attempts(suffix: str, count: int, side: int, closed: bool) -> Iterator[_Attempt]:
    everything = tuple(range(count))
    yield _Attempt(kept=everything)
    for quality in QUALITIES[suffix]:
        yield _Attempt(quality, everything)
    kept = everything
    for every in _THINNINGS:
        if count >= 2 * every and not (closed and count % every):
            places = everything[::every] if closed else np.linspace(0, count - 1, count // every).round().astype(int)
            kept = tuple(int(place) for place in places)
            yield _Attempt(quality, kept)
    for scale in _SCALES:
        if side * scale >= _SMALLEST:
            yield _Attempt(quality, kept, scale)


def _encoded(frames: Sequence[Frame], suffix: str, fps: float, attempt: _Attempt, resample: str) -> bytes:
    height = max(1, round(frames[0].shape[0] * attempt.scale))
    kept = [resize(frames[index], height, resample) for index in attempt.kept]
    return encode(kept, suffix, fps * len(kept) / len(frames), attempt.quality)


def _in_words(attempt: _Attempt, suffix: str, count: int) -> str:
    told = []
    if attempt.quality is not None:
        told.append(f"{attempt.quality} colours" if suffix in (".gif", ".png") else f"quality {attempt.quality}")
    if len(attempt.kept) < count:
        told.append(f"{len(attempt.kept)} of {count} frames")
    if attempt.scale < 1:
        told.append(f"{attempt.scale:.0%} of the side")
    return ", ".join(told) or "nothing given up"
