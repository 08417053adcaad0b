"""Picture files → uint8, in the one way that trainings and renderings share; without torch, so that it starts fast."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from data.image_files.eight_bits import check_size, small, to_srgb
from data.image_files.formats import NAMES, format_of, prepare
from data.image_files.levels import FOUND, Deep, White, deep, has_halves, unread
from data.system.errors import UserError
from data.system.files import check_regular_file
from data.system.spelling import neighbour

_LONGEST_REASON = 200
_opening = threading.Lock()


def background_colour(name: str) -> tuple[int, ...]:
    """A CSS colour name or #rrggbb → (r, g, b).

    Raises:
        UserError: not a colour.
    """
    try:
        return ImageColor.getcolor(name, "RGB")  # type: ignore[return-value]
    except ValueError:
        raise UserError(f"background {name!r}: not a colour; give a name such as white, or #rrggbb") from None


def read(
    path: Path, size: int, channels: int, background: str = "white", white: White = FOUND, frame: int = 0
) -> NDArray[np.uint8]:
    """Reads any picture as the data sets and the renderer want it; see `Opened.pixels`."""
    with Opened(path) as opened:
        return opened.pixels(size, channels, background, white, frame)


class Opened:
    """A file of one or more pictures that is open for reading.

    Args:
        path: a file in one of `formats.FORMATS`.

    Raises:
        UserError: the file is missing, or not a picture.
    """

    def __init__(self, path: Path) -> None:
        check_regular_file(path)
        self.path = path
        self._twin: Image.Image | None = None
        with _explained(path):
            self.image = _open(path)
        self._first = self.image.tell()  # a HEIC says which of its pictures comes first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self.image.close()
        if self._twin is not None:
            self._twin.close()

    def pixels(self, size: int, channels: int, background: str, white: White, frame: int) -> NDArray[np.uint8]:
        """One of its pictures as a square.

        EXIF rotation is applied, transparency composited on the background, 16-bit, palette, grey and CMYK pictures
        converted, the shorter side resized with antialiasing and the longer one cropped around its centre. Of JPEGs
        that are much larger than `size`, only what is needed is decoded.

        Args:
            size: side of the result.
            channels: 1 or 3.
            background: colour that shows through transparent pixels.
            white: which level of more than 8 bits is white.
            frame: which of the file's pictures, from 0; later ones are found faster in ascending order.

        Returns:
            (size, size, channels) uint8.

        Raises:
            UserError: the picture is broken or too large.
        """
        colour = background_colour(background)
        with _explained(self.path, frame):
            opened = self.seek(frame)
            check_size(opened, size)
            profile = opened.info.get("icc_profile")
            image = small(opened, self.deep(frame), size, white)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                opaque = Image.new("RGBA", image.size, (*colour, 255))
                image = Image.alpha_composite(opaque, image).convert("RGB")
            image = ImageOps.fit(to_srgb(image, profile), (size, size), Image.Resampling.LANCZOS)
            pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
        return pixels.reshape(size, size, channels)

    def brightest(self, frame: int) -> tuple[bool, float] | None:
        """Whether a picture's levels are whole numbers, and the largest; None if its white is known without.

        Raises:
            UserError: the picture is broken or too large.
        """
        with _explained(self.path, frame):
            image = self.seek(frame)
            check_size(image, max(image.size))
            found = self.deep(frame)
            if found is None or found.stated:
                return None
            image.load()
            return found.whole, found.brightest()

    def seek(self, frame: int) -> Image.Image:
        """Goes to one of the file's pictures."""
        self.image.seek(self._place(frame))
        return self.image

    def _place(self, frame: int) -> int:
        return self._first if not frame else frame - (frame <= self._first)

    def deep(self, frame: int) -> Deep | None:
        """The picture with all its bits; None if it has 8 a channel."""
        if has_halves(self.image) and (not frame or self.image.format == "TIFF"):  # an APNG's frames are blended
            self._twin = self._twin or _open(self.path)
            self._twin.seek(self._place(frame))
            return deep(self.image, self._twin)
        return deep(self.image, None)


@contextmanager
def _explained(path: Path, frame: int = 0) -> Iterator[None]:
    """Turns whatever a decoder raises into a `UserError` that names the file."""
    name = f"{path}, picture {frame + 1}" if frame else str(path)
    try:
        yield
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {neighbour(path, 'name another one')}") from None
    except UnidentifiedImageError:
        raise UserError(f"{name}: not a readable picture (broken, or of a rare kind); name another one") from None
    except MemoryError:
        raise UserError(f"{name}: takes more memory to decode than there is; make it smaller") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: not a readable picture ({reason[:_LONGEST_REASON]})") from None


def _open(path: Path) -> Image.Image:
    """A file of one of the formats, of any size: `check_size` knows what will be decoded of it."""
    name = format_of(path)
    if name is None:
        raise UserError(f"not a readable picture (of no known format); name another one: {NAMES}")
    prepare(name)
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=[name])
        except UnidentifiedImageError:
            if name == "TIFF" and (kind := unread(path)):
                raise UserError(f"not a readable picture (a {kind}); save it in 16 bits") from None
            raise
        finally:
            Image.MAX_IMAGE_PIXELS = limit
