"""Picture files → uint8, the same for training and rendering; without torch, so that it starts fast."""

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from data.fit import Fit, to_square
from data.image_files.colours import background_colour, to_opaque, to_srgb
from data.image_files.formats import NAMES, format_of, prepare
from data.image_files.levels import brightest_level, check_colours, kind_of_levels, to_eight_bits
from data.system.errors import UserError
from data.system.spelling import suggest_file

MOST = 10_000  # pictures of a file
LARGEST = 89_478_485  # pixels to decode: what is made of them fits into the 2 GiB of a process that decodes
_SAMPLES = 64  # of the pictures of a file, whose brightness is measured
_LONGEST_REASON = 200
_opening = threading.Lock()


class Probe(NamedTuple):
    """The findings of a file before it is decoded."""

    pictures: int  # how many of them are used
    more: bool  # whether it has others than these
    brightest: dict[str, float]  # kind of levels of more than 8 bits → the largest


def read_picture(
    path: Path,
    size: int,
    channels: int,
    background: str = "white",
    white: Mapping[str, float] | None = None,
    frame: int = 0,
    fit: Fit = "crop",
) -> NDArray[np.uint8]:
    """A picture of a file as a square; see `PictureFile.pixels`."""
    with warnings.catch_warnings(action="ignore"), closing(PictureFile(path)) as file:  # of oddities that can be read
        return file.pixels(frame, size, channels, background, white, fit)


class PictureFile:
    """A file of one or more pictures, in one of `formats.FORMATS`, that is open for reading.

    Raises `UserError` if it is missing, or not a picture.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _decoder_errors(path):
            self._image = _open(path)
        self._first = self._image.tell()  # a HEIC says which of its pictures comes first

    def close(self) -> None:
        self._image.close()

    def probe(self, all_frames: bool, brightness: bool) -> Probe:
        """The number of pictures, if all are taken, and how bright they are, if asked for: of many 64 are measured.

        Raises `UserError` if there are too many.
        """
        count = self._count() if all_frames else 1
        if count > MOST:
            raise UserError(f"{self.path}: holds more than {MOST:,} pictures; split it")
        more = False
        with suppress(Exception):  # hostile bytes; the others in an MPO are previews and maps of its light
            more = not all_frames and self._image.format != "MPO" and bool(getattr(self._image, "is_animated", False))
        brightest: dict[str, float] = {}
        for frame in range(0, count, -(-count // _SAMPLES)) if brightness else ():
            try:
                with _decoder_errors(self.path, frame):
                    self._seek(frame)
                    if (kind := kind_of_levels(self._image)) is None:
                        break  # the others have 8 bits too
                    _check_decoded_size(self._image, max(self._image.size))
                    if (level := brightest_level(self._image)) is not None:
                        brightest[kind] = max(level, brightest.get(kind, 0))
            except UserError:  # decoding it reports that
                continue
        return Probe(count, more, brightest)

    def pixels(
        self,
        frame: int,
        size: int,
        channels: int,
        background: str,
        white: Mapping[str, float] | None,
        fit: Fit = "crop",
    ) -> NDArray[np.uint8]:
        """A picture of the file as a square, (size, size, channels).

        EXIF rotation is applied, transparency composited on the background, deep, palette, grey and CMYK pictures
        converted. Of JPEGs that are much larger than `size`, only what is needed is decoded.

        Args:
            frame: which of the file's pictures, from 0; later ones are found faster in ascending order.
            size: side of the result.
            channels: 1 or 3.
            background: colour that shows through transparent pixels.
            white: kind of levels of more than 8 bits → the level that is white.
            fit: how a picture that is not square becomes so, see `data.fit.to_square`.

        Raises:
            UserError: the picture is broken or too large.
        """
        colour = background_colour(background)
        with _decoder_errors(self.path, frame):
            self._seek(frame)
            _check_decoded_size(self._image, size)
            profile = self._image.info.get("icc_profile")
            check_colours(self._image)
            deep = kind_of_levels(self._image)
            image = ImageOps.exif_transpose(to_eight_bits(self._image, white or {}) if deep else self._image)
            image = to_srgb(to_opaque(image, colour), profile)
            image = to_square(image, size, fit)
            return np.array(image.convert("L" if channels == 1 else "RGB")).reshape(size, size, channels)

    def _seek(self, frame: int) -> None:
        self._image.seek(self._first if not frame else frame - (frame <= self._first))

    def _count(self) -> int:
        """The number of pictures; one too many where the next cannot be reached, so that its decoding says why."""
        if self._image.format == "MPO":
            return 1
        try:
            return int(getattr(self._image, "n_frames", 1))
        except Exception:  # hostile bytes
            return self._image.tell() + 2


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
        raise UserError(f"{name}: not a readable picture ({reason[:_LONGEST_REASON]}); name another one") from None


def _open(path: Path) -> Image.Image:
    """An opened file of one of `FORMATS`, of any size: `_check_decoded_size` limits what is decoded of it."""
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


def _check_decoded_size(image: Image.Image, size: int) -> None:
    """Lets a JPEG's decoder skip detail that is resized away; raises `UserError` if too many pixels are left."""
    width, height = image.size
    image.draft(None, (2 * size, 2 * size))
    # a progressive JPEG's coefficients are all kept until its last scan
    pixels = width * height if "progressive" in image.info else image.width * image.height
    if pixels > LARGEST:
        raise UserError(f"{width}×{height} pixels are too many to decode; make it smaller")
