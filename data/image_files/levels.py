"""Pictures of more than 8 bits → 8 bits, by the level that is white.

Files of 16 bits hold what a camera or scanner measured, often 10, 12 or 14 bits of it, and floats may have any scale.
White is the smallest full scale that the brightest pixel does not exceed; a set of pictures has one white level.
"""

import re
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.system.errors import UserError

_DEPTHS = (1, 255, 1023, 4095, 16383, 65535)  # of masks, and of 8, 10, 12, 14 and 16 bits
_SCALES = (1, 255, 65535)  # of floats
_OUTLIERS = 10_000  # one pixel in so many may be brighter than white: cameras have hot ones
_STRIP = 1 << 20  # pixels
_STATED_WHITE = 65535  # to which Pillow scales these formats, which state their white level
_STATING_WHITE = ("PPM", "JPEG2000")
_OPPOSITE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_BITS, _PHOTOMETRIC, _PLANES = 258, 262, 284  # tags of TIFF
_TWO_BYTES = re.compile(r"(RGB|RGBA|RGBX);16([LBN])")


class WhiteLevels(NamedTuple):
    """The levels that are white; None where each picture decides for itself.

    Attributes:
        integer: in pictures of integers.
        real: in pictures of floats.
    """

    integer: float | None = None
    real: float | None = None


FROM_PICTURE = WhiteLevels()


def white_level(brightest: float, integer: bool) -> float:
    """The level that is white where the file does not state it.

    Args:
        brightest: the largest level.
        integer: whether levels are integers, which have depths in bits.

    >>> white_level(4000, True), white_level(70_000, True), white_level(0.8, False), white_level(2550, False)
    (4095, 70000, 1, 2550)
    """
    if integer:
        return next((level for level in _DEPTHS if brightest <= level), brightest)
    return next((level for level in _SCALES if brightest <= level and (level == 1 or brightest > level / 2)), brightest)


@dataclass(frozen=True)
class HighDepthImage:
    """A picture of more than 8 bits a channel.

    Attributes:
        image: of a grey mode (I;16, I, F), or the high bytes of a coloured one.
        low: the low bytes of a coloured one.
        inverted: whether 0 is white.
        stated: the white level that the file states, if it does.
    """

    image: Image.Image
    low: Image.Image | None
    inverted: bool
    stated: float | None

    @property
    def is_integer(self) -> bool:
        """True if levels are integers, not floats."""
        return not self.image.mode.startswith("F")

    def crop(self, box: tuple[int, int, int, int]) -> "HighDepthImage":
        """A part of it."""
        low = self.low and self.low.crop(box)
        return HighDepthImage(self.image.crop(box), low, self.inverted, self.stated)

    def brightest(self) -> float:
        """The largest level, but for outliers; 0 if there is none above. Piece by piece, to spare memory."""
        width, height = self.image.size
        rows = max(1, _STRIP // width)
        return max(self.crop((0, top, width, min(top + rows, height)))._brightest() for top in range(0, height, rows))

    def _brightest(self) -> float:
        levels = self._levels().reshape(-1)
        outliers = levels.size // _OUTLIERS
        if levels.dtype == np.uint16:
            counts = np.bincount(levels)
            return float(len(counts) - 1 - np.searchsorted(np.cumsum(counts[::-1]), outliers, side="right"))
        levels = levels[np.isfinite(levels)]
        if levels.size <= outliers:
            return 0.0
        place = levels.size - 1 - outliers
        return max(0.0, float(np.partition(levels, place)[place]))

    def white_level(self, known: WhiteLevels) -> float:
        """The level that is white: the file states it, or `known`, or its brightest pixel decides."""
        level = self.stated or (known.integer if self.is_integer else known.real)
        return white_level(self.brightest(), self.is_integer) if level is None else level

    def to_eight_bits(self, white: float) -> Image.Image:
        """An image of mode L or RGB, or with transparency LA or RGBA; brighter than white is white."""
        levels = self._levels()
        if levels.dtype == np.uint16:
            pixels = _scaled(np.arange(1 << 16, dtype=np.float32), white)[levels]
        else:
            pixels = _scaled(levels.copy(), white)
        image = Image.fromarray(255 - pixels if self.inverted else pixels)
        if (alpha := self._alpha(levels)) is not None:
            image.putalpha(alpha)
        return image

    def _levels(self) -> NDArray[Any]:
        """(H, W) of a grey picture, (H, W, 3) of a coloured one; uint16 or float32."""
        if self.low is not None:
            high, low = (np.asarray(half)[..., :3] for half in (self.image, self.low))
            return high.astype(np.uint16) << 8 | low
        levels = np.asarray(self.image)
        return levels.astype(np.uint16 if levels.dtype.itemsize == 2 else np.float32, copy=False)

    def _alpha(self, levels: NDArray[Any]) -> Image.Image | None:
        """Transparency: a channel, or one level that is transparent (tRNS of PNG)."""
        if self.image.mode == "RGBA":
            return self.image.getchannel("A")
        if (clear := self.image.info.get("transparency")) is None:
            return None
        opaque = levels != np.asarray(clear)
        return Image.fromarray(np.uint8(255) * (opaque.any(-1) if opaque.ndim == 3 else opaque))


def _scaled(levels: NDArray[np.float32], white: float) -> NDArray[np.uint8]:
    """0 … white → 0 … 255, in place."""
    levels /= white
    np.clip(np.nan_to_num(levels, copy=False), 0, 1, out=levels)
    levels *= 255
    return np.rint(levels, out=levels).astype(np.uint8)


def high_depth(image: Image.Image, second: Image.Image | None) -> HighDepthImage | None:
    """The picture with all its bits; None if it has 8 a channel, or more that Pillow cannot read.

    Args:
        image: just opened.
        second: the same file opened again, which this changes, where `has_unread_low_bytes`.
    """
    stated = _STATED_WHITE if image.format in _STATING_WHITE and image.mode != "F" else None
    inverted = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    if image.mode.startswith(("I", "F")):
        return HighDepthImage(image, None, inverted, stated)
    low = _low_bytes(second) if second is not None else None
    return HighDepthImage(image, low, inverted, stated) if low is not None else None


def has_unread_low_bytes(image: Image.Image) -> bool:
    """True if a picture just opened has 16 bits a channel, of which Pillow reads the high byte alone."""
    tiles = getattr(image, "tile", None) or []
    if image.format == "TIFF" and len(image.getbands()) > 1:
        tags = image.tag_v2  # type: ignore[attr-defined]
        if tags.get(_PLANES) == 2 and 16 in tags.get(_BITS, ()):
            raise UserError("a TIFF of 16 bits in separate planes is not read; save it with its channels interleaved")
    return bool(tiles) and all(_swapped(_raw_mode(tile)) for tile in tiles)


def _low_bytes(image: Any) -> Image.Image | None:
    """The low bytes, which Pillow takes for the high ones where the byte order is declared to be the opposite."""
    opposite = [_swapped(_raw_mode(tile)) for tile in image.tile]
    if not all(opposite):
        return None
    image.tile = [
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:]))
        for tile, raw in zip(image.tile, opposite, strict=True)
    ]
    image.load()
    return Image.merge("RGB", 3 * [image.getchannel("G")]) if "RGBA" in opposite else image


def _swapped(raw: str) -> str | None:
    """Pillow's raw mode of the same pixels with their bytes swapped; None if they have not two bytes."""
    if raw == "LA;16B":
        return "RGBA"  # each byte a channel
    match = _TWO_BYTES.fullmatch(raw)
    return match and f"{match[1]};16{_OPPOSITE[match[2]]}"


def _raw_mode(tile: Any) -> str:
    """Pillow's name of a file's pixel layout."""
    args = tile.args
    return str(args if isinstance(args, str) else args[0] if args else "")
