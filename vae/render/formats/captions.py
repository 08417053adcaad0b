"""Captions below frames, and frames beside each other."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vae.render.formats.frame import Frame

_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_LEAST_FONT_SIZE = 5


def caption(frame: Frame, text: str, ink: tuple[int, int, int] = _INK) -> Frame:
    """The frame with a line of text, centred, on white below it: (H, W, 3) → (H + bar, W, 3).

    The text is written smaller where it would be wider than the frame, down to a size of 5 pixels.
    """
    size = max(10, frame.shape[0] // 12)
    bar = Image.new("RGB", (frame.shape[1], 2 * size), _PAPER)
    width = ImageFont.load_default(size).getlength(text)
    font = ImageFont.load_default(max(_LEAST_FONT_SIZE, size * min(1, 0.96 * bar.width / max(width, 1))))
    ImageDraw.Draw(bar).text((bar.width / 2, bar.height / 2), text, ink, font, anchor="mm")
    return np.concatenate([frame, np.asarray(bar)])


def in_row(frames: list[Frame]) -> Frame:
    """Frames of one height, from left to right."""
    return np.concatenate(frames, axis=1)


def in_column(frames: list[Frame]) -> Frame:
    """Frames of one width, from top to bottom."""
    return np.concatenate(frames)


def in_grid(frames: list[Frame], columns: int) -> Frame:
    """Frames of one size, row by row; free places in the last row are white."""
    blank = np.full_like(frames[0], 255)
    padded = [*frames, *[blank] * (-len(frames) % columns)]
    return in_column([in_row(padded[start : start + columns]) for start in range(0, len(padded), columns)])
