"""Borders: a frame in the middle of a larger one with another aspect ratio."""

import math
import re
from fractions import Fraction
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from data.fit import ground_colour
from data.system.errors import UserError
from vae.render.formats.frame import Frame

Border = Literal["blurred", "plain"]
_MOST = 10  # of an aspect ratio
_SMALL, _BLUR = 64, 3.0  # pixels: the longer side of the copy that is blurred, and the standard deviation


def parse_aspect(text: str) -> Fraction:
    """The width over the height that a text like 16:9 or 2.39:1 means. Raises `UserError` if it is none.

    >>> parse_aspect("16:9"), parse_aspect("4:5")
    (Fraction(16, 9), Fraction(4, 5))
    """
    number = r"(\d{1,4}(?:\.\d{1,4})?)"
    if match := re.fullmatch(f"{number}:{number}", text.strip()):
        width, height = map(Fraction, match.groups())
        if 0 < height <= _MOST * width and width <= _MOST * height:
            return width / height
    raise UserError(f"aspect {text!r}: not a shape; write width and height as 16:9, at most {_MOST}:1 or 1:{_MOST}")


def bordered_tiles(columns: int, rows: int, aspect: Fraction | None) -> int:
    """The number of square pictures that have as many pixels as a frame of columns × rows of them and its border.

    >>> bordered_tiles(1, 1, parse_aspect("16:9")), bordered_tiles(4, 2, None)
    (2, 8)
    """
    if aspect is None:
        return columns * rows
    return math.ceil(max(Fraction(columns), rows * aspect) * max(Fraction(rows), columns / aspect))


def add_border(frame: Frame, aspect: Fraction, border: Border) -> Frame:
    """The frame in the middle of the smallest one around it whose width is `aspect` times its height, within a pixel.

    A side that grows becomes even, as video wants it. The border is a blurred copy of the frame that covers all of it,
    or the frame's `ground_colour`. It is a continuous function of this frame alone, so that it does not flicker.
    """
    height, width, _ = frame.shape
    size = max(width, _even(height * aspect)), max(height, _even(width / aspect))
    if size == (width, height):
        return frame
    if border == "plain":
        large = np.empty((size[1], size[0], 3), np.uint8)
        large[:] = ground_colour(frame)
    else:
        large = _blurred(frame, size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    large[top : top + height, left : left + width] = frame
    return large


def _even(side: Fraction) -> int:
    """The nearest even number; of two the smaller one, so that an odd side that is right already stays."""
    return 2 * math.ceil(side / 2 - Fraction(1, 2))


def _blurred(frame: Frame, size: tuple[int, int]) -> Frame:
    """A copy that covers this width and height, blurred while it is small, which is fast."""
    width, height = (max(1, round(side * _SMALL / max(size))) for side in size)
    small = ImageOps.fit(Image.fromarray(frame), (width, height), Image.Resampling.BOX)
    return np.array(small.filter(ImageFilter.GaussianBlur(_BLUR)).resize(size, Image.Resampling.BICUBIC))
