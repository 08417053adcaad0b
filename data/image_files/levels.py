"""Grey pictures of more than 8 bits → 8 bits, by the level that is white.

Files of 16 bits hold what a camera or scanner measured, often 10, 12 or 14 bits of it, and floats may have any scale.
White is the smallest full scale that the brightest pixel does not exceed; a set of pictures has one white level.

Of colours of 16 bits Pillow reads the high bytes, which is right where they use all 16.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from data.system.errors import UserError

INTEGERS, FLOATS = "more than 8 bits", "floats"
_SCALES = {INTEGERS: (1, 255, 1023, 4095, 16383, 65535), FLOATS: (1, 255, 65535)}  # 1 is that of masks
_OUTLIERS = 10_000  # one pixel in so many may be brighter than white: cameras have hot ones
_STATED_WHITE = 65535  # to which Pillow scales these formats, which state their white level
_STATING_WHITE = ("PPM", "JPEG2000")
_LEAST_HIGH_BYTE = 64  # the brightest of colours that use all 16 bits has more
_BITS, _PHOTOMETRIC, _PLANES = 258, 262, 284  # tags of TIFF


def white_level(brightest: float, kind: str) -> float:
    """The level that is white where the file does not state it; `kind` is one of levels: INTEGERS or FLOATS.

    >>> white_level(4000, INTEGERS), white_level(70_000, INTEGERS), white_level(0.8, FLOATS), white_level(2550, FLOATS)
    (4095, 70000, 1, 2550)
    """
    scale = next((scale for scale in _SCALES[kind] if brightest <= scale), brightest)
    odd = kind == FLOATS and scale > 1 and brightest <= scale / 2
    return brightest if odd else scale


def kind_of_levels(image: Image.Image) -> str | None:
    """INTEGERS or FLOATS where a picture has more than 8 bits, and Pillow reads them all; None where it has not."""
    return {"I": INTEGERS, "F": FLOATS}.get(image.mode[0])


def brightest_level(image: Image.Image) -> float | None:
    """The largest level but for outliers, at least 0; None where the file states its white level."""
    return None if _states_white(image) else _brightest(_levels(image))


def to_eight_bits(image: Image.Image, white: Mapping[str, float]) -> Image.Image:
    """A picture with a `kind_of_levels`, in mode L, or LA where one level is transparent.

    Args:
        image: just opened.
        white: kind → the level that is white, unless the file states it; without one the brightest pixel decides.
    """
    kind, levels = kind_of_levels(image) or INTEGERS, _levels(image)
    level = _STATED_WHITE if _states_white(image) else white.get(kind) or white_level(_brightest(levels), kind)
    scaled = np.nan_to_num(levels / np.float32(level), copy=False)
    pixels = np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)
    zero_is_white = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    eight = Image.fromarray(255 - pixels if zero_is_white else pixels)
    if (clear := image.info.get("transparency")) is not None:
        eight.putalpha(Image.fromarray(np.uint8(255) * (levels != clear)))
    eight.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    return eight


def check_colours(image: Image.Image) -> None:
    """Loads a picture just opened. Raises `UserError` if of 16 bits a colour the high bytes alone say too little."""
    if image.format not in ("PNG", "TIFF") or len(image.getbands()) == 1 or not _has_sixteen_bits(image):
        return
    image.load()
    colours = image.convert("RGB") if image.mode != "LA" else image.getchannel("L")
    if np.max(colours.getextrema()) < _LEAST_HIGH_BYTE:
        raise UserError("its colours use less than 15 of 16 bits, or are nearly black; save it in 8 bits")
    if "transparency" in image.info:
        image.info["transparency"] = tuple(level >> 8 for level in image.info["transparency"])


def _has_sixteen_bits(image: Image.Image) -> bool:
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if 16 in (bits := tags.get(_BITS, ())) and tags.get(_PLANES) == 2:
            raise UserError("a TIFF of 16 bits in separate planes is not read; save it with its channels interleaved")
        return 16 in bits
    return any(";16" in str(tile.args) for tile in image.tile)  # type: ignore[attr-defined]


def _states_white(image: Image.Image) -> bool:
    return image.format in _STATING_WHITE and image.mode != "F"


def _levels(image: Image.Image) -> NDArray[Any]:
    """(H, W) uint16 or float32."""
    levels = np.asarray(image)
    return levels.astype(np.uint16 if levels.dtype.itemsize == 2 else np.float32, copy=False)


def _brightest(levels: NDArray[Any]) -> float:
    finite = levels[np.isfinite(levels)]
    place = finite.size - 1 - levels.size // _OUTLIERS
    return max(0.0, float(np.partition(finite, place)[place])) if place >= 0 else 0.0
