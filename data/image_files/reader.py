"""Picture files → uint8, the same for training and rendering; without torch, so that it starts fast."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from data.image_files.eight_bits import check_decoded_size, to_eight_bits, to_srgb
from data.image_files.formats import NAMES, format_of, prepare
from data.image_files.levels import FROM_PICTURE, HighDepthImage, WhiteLevels, has_unread_low_bytes, high_depth
from data.system.errors import UserError
from data.system.files import check_regular_file
from data.system.spelling import suggest_file

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


def read_picture(
    path: Path, size: int, channels: int, background: str = "white", white: WhiteLevels = FROM_PICTURE, frame: int = 0
) -> NDArray[np.uint8]:
    """A picture of a file as a square; see `PictureFile.pixels`."""
    with PictureFile(path) as file:
        return file.pixels(size, channels, background, white, frame)


class PictureFile:
    """A file of one or more pictures that is open for reading.

    Args:
        path: a file in one of `formats.FORMATS`.

    Raises:
        UserError: the file is missing, or not a picture.
    """

    def __init__(self, path: Path) -> None:
        check_regular_file(path)
        self.path = path
        self._second: Image.Image | None = None
        with _decoder_errors(path):
            self.image = _open(path)
        self._first = self.image.tell()  # a HEIC says which of its pictures comes first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.image.close()
        if self._second is not None:
            self._second.close()

    def pixels(self, size: int, channels: int, background: str, white: WhiteLevels, frame: int) -> NDArray[np.uint8]:
        """A picture of the file as a square.

        EXIF rotation is applied, transparency composited on the background, 16-bit, palette, grey and CMYK pictures
        converted, the shorter side resized with antialiasing and the longer one cropped around its centre. Of JPEGs
        that are much larger than `size`, only what is needed is decoded.

        Args:
            size: side of the result.
            channels: 1 or 3.
            background: colour that shows through transparent pixels.
            white: the white levels of pictures of more than 8 bits.
            frame: which of the file's pictures, from 0; later ones are found faster in ascending order.

        Returns:
            (size, size, channels) uint8.

        Raises:
            UserError: the picture is broken or too large.
        """
        colour = background_colour(background)
        with _decoder_errors(self.path, frame):
            opened = self._seek(frame)
            check_decoded_size(opened, size)
            profile = opened.info.get("icc_profile")
            image = to_eight_bits(opened, self._high_depth(frame), size, white)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                opaque = Image.new("RGBA", image.size, (*colour, 255))
                image = Image.alpha_composite(opaque, image).convert("RGB")
            image = ImageOps.fit(to_srgb(image, profile), (size, size), Image.Resampling.LANCZOS)
            pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
        return pixels.reshape(size, size, channels)

    def brightest(self, frame: int) -> tuple[bool, float] | None:
        """True if a picture has levels of integers, and the largest; None if it has 8 bits, or states its white level.

        Raises:
            UserError: the picture is broken or too large.
        """
        with _decoder_errors(self.path, frame):
            image = self._seek(frame)
            check_decoded_size(image, max(image.size))
            high = self._high_depth(frame)
            if high is None or high.stated:
                return None
            image.load()
            return high.is_integer, high.brightest()

    def _seek(self, frame: int) -> Image.Image:
        self.image.seek(self._place(frame))
        return self.image

    def _place(self, frame: int) -> int:
        return self._first if not frame else frame - (frame <= self._first)

    def _high_depth(self, frame: int) -> HighDepthImage | None:
        """The picture with all its bits; None if it has 8 a channel."""
        unblended = not frame or self.image.format == "TIFF"  # the later frames of an APNG are blended
        if has_unread_low_bytes(self.image) and unblended:
            self._second = self._second or _open(self.path)
            self._second.seek(self._place(frame))
            return high_depth(self.image, self._second)
        return high_depth(self.image, None)


@contextmanager
def _decoder_errors(path: Path, frame: int = 0) -> Iterator[None]:
    """Turns whatever a decoder raises into a `UserError` that names the file."""
    name = f"{path}, picture {frame + 1}" if frame else str(path)
    try:
        yield
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {suggest_file(path, 'name another one')}") from None
    except UnidentifiedImageError:
        raise UserError(
            f"{name}: not a readable picture (broken, or of a rare kind); name another one, or save it in 16 bits"
        ) from None
    except MemoryError:
        raise UserError(f"{name}: takes more memory to decode than there is; make it smaller") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: not a readable picture ({reason[:_LONGEST_REASON]})") from None


def _open(path: Path) -> Image.Image:
    """An opened file of one of `FORMATS`, of any size: `check_decoded_size` limits what is decoded of it."""
    name = format_of(path)
    if name is None:
        raise UserError(f"not a readable picture (of no known format); name another one: {NAMES}")
    prepare(name)
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=[name])
        finally:
            Image.MAX_IMAGE_PIXELS = limit
