"""Text beside and below pictures: labelled rows and captioned strips."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vae.render.formats.frame import Frame

_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_LEGIBLE = 5


def _text_size(side: int) -> int:
    return max(10, side // 12)


def caption(frame: Frame, text: str, ink: tuple[int, int, int] = _INK) -> Frame:
    """The frame with a line of text, centred, on white below it: (H, W, 3) → (H + text, W, 3).

    A long text is written smaller, so that it fits unless it would be too small to read.
    """
    size = _text_size(frame.shape[0])
    bar = Image.new("RGB", (frame.shape[1], 2 * size), _PAPER)
    wide = ImageFont.load_default(size).getlength(text)
    font = ImageFont.load_default(max(_LEGIBLE, size * min(1, 0.96 * bar.width / max(wide, 1))))
    ImageDraw.Draw(bar).text((bar.width / 2, bar.height / 2), text, ink, font, anchor="mm")
    return np.concatenate([frame, np.asarray(bar)])


def in_row(frames: list[Frame]) -> Frame:
    """Frames of one height side by side."""
    return np.concatenate(frames, axis=1)


def in_column(frames: list[Frame]) -> Frame:
    """Frames of one width, the first on top."""
    return np.concatenate(frames)


def in_grid(frames: list[Frame], columns: int) -> Frame:
    """Frames of one size in rows; what the last row lacks is white."""
    blank = np.full_like(frames[0], 255)
    padded = [*frames, *[blank] * (-len(frames) % columns)]
    return in_column([in_row(padded[start : start + columns]) for start in range(0, len(padded), columns)])
