"""A frame of an animation: uint8 (H, W, 3)."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frame = NDArray[np.uint8]


def resize(frame: Frame, height: int, resample: str) -> Frame:
    """The frame at another height and the same aspect ratio.

    Args:
        frame: (H, W, 3) uint8.
        height: the new height in pixels.
        resample: `nearest` keeps pixels as hard squares, `lanczos` is smooth.
    """
    if frame.shape[0] == height:
        return frame
    width = max(1, round(frame.shape[1] * height / frame.shape[0]))
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling[resample.upper()]))
