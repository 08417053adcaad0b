"""Pictures of more than 8 bits → 8 bits: which level is white.

Files of 16 bits hold what a camera or scanner measured, often 10, 12 or 14 bits of it, and floats may have any scale.
White is the smallest full scale that the brightest pixel does not exceed; for a set of pictures it is one level.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from data.system.errors import UserError

_DEPTHS = (1, 255, 1023, 4095, 16383, 65535)  # of masks, and of 8, 10, 12, 14 and 16 bits
_SCALES = (1, 255, 65535)  # of floats
_OUTLIERS = 10_000  # one pixel in so many may be brighter than white: cameras have hot ones
_STRIP = 1 << 20  # pixels
_STATED = 65535  # to which Pillow scales what these formats say is white
_STATING = ("PPM", "JPEG2000")
_OPPOSITE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_BITS, _PHOTOMETRIC, _PLANES, _KIND = 258, 262, 284, 339  # tags of TIFF
_HALVES = re.compile(r"(RGB|RGBA|RGBX);16([LBN])")


class White(NamedTuple):
    """Which level is white; None where the picture itself decides.

    Attributes:
        whole: of whole numbers.
        real: of floats.
    """

    whole: float | None = None
    real: float | None = None


FOUND = White()  # in each picture by itself


def white_level(brightest: float, whole: bool) -> float:
    """Which level is white where nothing says it.

    Args:
        brightest: the largest level.
        whole: whether levels are whole numbers, which have depths in bits.

    >>> white_level(4000, True), white_level(70_000, True), white_level(0.8, False), white_level(2550, False)
    (4095, 70000, 1, 2550)
    """
    if whole:
        return next((level for level in _DEPTHS if brightest <= level), brightest)
    return next((level for level in _SCALES if brightest <= level and (level == 1 or brightest > level / 2)), brightest)


@dataclass(frozen=True)
class Deep:
    """A picture of more than 8 bits a channel.

    Attributes:
        image: of a grey mode (I;16, I, F), or the high bytes of a coloured one.
        low: the low bytes of a coloured one.
        inverted: whether 0 is white.
        stated: the level that the file itself says is white, if it does.
    """

    image: Image.Image
    low: Image.Image | None
    inverted: bool
    stated: float | None

    @property
    def whole(self) -> bool:
        """Whether levels are whole numbers."""
        return not self.image.mode.startswith("F")

    def crop(self, box: tuple[int, int, int, int]) -> "Deep":
        """A part of it."""
        low = self.low and self.low.crop(box)
        return Deep(self.image.crop(box), low, self.inverted, self.stated)

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

    def white(self, known: White) -> float:
        """Which level is white: the file says it, or `known`, or its brightest pixel."""
        level = self.stated or (known.whole if self.whole else known.real)
        return white_level(self.brightest(), self.whole) if level is None else level

    def eight_bits(self, white: float) -> Image.Image:
        """Of mode L or RGB, or with transparency LA or RGBA; brighter than white is white."""
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


def deep(image: Image.Image, twin: Image.Image | None) -> Deep | None:
    """The picture with all its bits; None if it has 8 a channel, or more that Pillow cannot give.

    Args:
        image: just opened.
        twin: the same file opened again, which this changes; None if it is not worth it.
    """
    stated = _STATED if image.format in _STATING and image.mode != "F" else None
    inverted = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    if image.mode.startswith(("I", "F")):
        return Deep(image, None, inverted, stated)
    low = _low_bytes(twin) if twin is not None else None
    return Deep(image, low, inverted, stated) if low is not None else None


def has_halves(image: Image.Image) -> bool:
    """Whether a picture just opened has 16 bits a channel, of which Pillow takes the high byte alone."""
    tiles = getattr(image, "tile", None) or []
    if image.format == "TIFF" and len(image.getbands()) > 1:
        tags = image.tag_v2  # type: ignore[attr-defined]
        if tags.get(_PLANES) == 2 and 16 in tags.get(_BITS, ()):
            raise UserError("a TIFF of 16 bits in separate planes is not read; save it with its channels interleaved")
    return bool(tiles) and all(_opposite(_raw(tile)) for tile in tiles)


def _low_bytes(image: Any) -> Image.Image | None:
    """The low bytes, which Pillow takes for the high ones where they are said to come in the opposite order."""
    opposite = [_opposite(_raw(tile)) for tile in image.tile]
    if not all(opposite):
        return None
    image.tile = [
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:]))
        for tile, raw in zip(image.tile, opposite, strict=True)
    ]
    image.load()
    return Image.merge("RGB", 3 * [image.getchannel("G")]) if "RGBA" in opposite else image


def _opposite(raw: str) -> str | None:
    """What Pillow calls the same pixels with their bytes swapped; None if they are no two bytes."""
    if raw == "LA;16B":
        return "RGBA"  # each byte a channel
    match = _HALVES.fullmatch(raw)
    return match and f"{match[1]};16{_OPPOSITE[match[2]]}"


def _raw(tile: Any) -> str:
    """What Pillow calls the order of a file's bits."""
    args = tile.args
    return str(args if isinstance(args, str) else args[0] if args else "")


def unread(path: Path) -> str | None:
    """What a TIFF holds that Pillow does not read, in words; None if that is nothing of the kind."""
    with path.open("rb") as file:
        head = file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head if head[2:3] in b"*\0" else head + file.read(8))
        file.seek(tags.next)
        tags.load(file)
    bits, kind = tags.get(_BITS, (1,)), tags.get(_KIND, (1,))
    return f"TIFF of {bits[0]}-bit floats in {len(bits)} channels" if kind[0] == 3 else None
