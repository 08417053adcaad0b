"""Pictures of any shape as squares, and the colour of the ground that they stand on."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from data.system.errors import UserError

Fit = Literal["crop", "pad", "stretch"]
_BORDER = 32  # borders in the shorter side
_LANCZOS = Image.Resampling.LANCZOS


def check_fit(fit: object) -> None:
    """Raises `UserError` unless it is a `Fit`."""
    if fit not in get_args(Fit):
        raise UserError(f"fit {fit!r}: must be {', '.join(get_args(Fit))}")


def to_square(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """An RGB picture as a square with sides of `size` pixels, resized with antialiasing.

    `crop` keeps the centre, `pad` the whole picture in the middle of its `ground_colour`, and `stretch` the whole
    picture out of proportion. Of a square all three are the same.

    Raises:
        UserError: no such fit.
    """
    check_fit(fit)
    if fit == "crop":
        return ImageOps.fit(image, (size, size), _LANCZOS)
    if fit == "stretch":
        return image.resize((size, size), _LANCZOS)
    width, height = (max(1, round(size * side / max(image.size))) for side in image.size)
    whole = image.resize((width, height), _LANCZOS)
    square = Image.new("RGB", (size, size), tuple(ground_colour(np.asarray(whole)).tolist()))
    square.paste(whole, ((size - width) // 2, (size - height) // 2))
    return square


def border_pixels(pixels: NDArray[Any]) -> NDArray[Any]:
    """The pixels at the four edges of pictures (..., H, W, C): (..., M, C). Those in the corners are in it twice."""
    width = max(1, min(pixels.shape[-3:-1]) // _BORDER)
    first, last = slice(width), slice(-width, None)
    edges = (pixels[..., first, :, :], pixels[..., last, :, :], pixels[..., first, :], pixels[..., last, :])
    return np.concatenate([edge.reshape(*pixels.shape[:-3], -1, pixels.shape[-1]) for edge in edges], -2)


def ground_colour(pixels: NDArray[Any]) -> NDArray[Any]:
    """The colour of the border of pictures (..., H, W, C): (..., C), in each channel the lower median."""
    border = border_pixels(pixels)
    middle = (border.shape[-2] - 1) // 2
    return np.partition(border, middle, -2)[..., middle, :]
