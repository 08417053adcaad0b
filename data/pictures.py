"""Picture files → uint8, in the one way that trainings and renderings share; without torch, so that it starts fast."""

import io
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError

from data.errors import UserError
from data.files import check_plain
from data.spelling import neighbour

LARGEST = 178_956_970  # pixels to decode: a gigabyte at most in Pillow's 4 bytes and what comes on top
_LARGE = 1 << 25  # pixels from which on a picture is reduced strip by strip
_STRIP = 1 << 20  # pixels
_USUAL = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
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


def read(path: Path, size: int, channels: int, background: str = "white") -> NDArray[np.uint8]:
    """Reads any picture as the data sets and the renderer want it.

    EXIF rotation is applied, transparency composited on the background, 16-bit, palette, grey and CMYK pictures
    converted, the shorter side resized with antialiasing and the longer one cropped around its centre. Of an
    animation, the first frame counts. Of JPEGs that are much larger than `size`, only what is needed is decoded.

    Args:
        path: a file that Pillow can open.
        size: side of the result.
        channels: 1 or 3.
        background: colour that shows through transparent pixels.

    Returns:
        (size, size, channels) uint8.

    Raises:
        UserError: the file is missing, broken, too large or not a picture.
    """
    colour = background_colour(background)
    check_plain(path)
    try:
        with _open(path) as opened:
            _check_size(opened, size)
            profile = opened.info.get("icc_profile")
            image = _reduced(opened, size) if opened.width * opened.height > _LARGE else opened
            image = _to_eight_bits(ImageOps.exif_transpose(image))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                opaque = Image.new("RGBA", image.size, (*colour, 255))
                image = Image.alpha_composite(opaque, image).convert("RGB")
            image = ImageOps.fit(_to_srgb(image, profile), (size, size), Image.Resampling.LANCZOS)
            pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {neighbour(path, 'name another one')}") from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a readable picture (of no known format); name another one") from None
    except MemoryError:
        raise UserError(f"{path}: takes more memory to decode than there is; make it smaller") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a readable picture ({reason[:_LONGEST_REASON]})") from None
    return pixels.reshape(size, size, channels)


def _open(path: Path) -> Image.Image:
    """A file of any format that Pillow knows, of any size: `_check_size` knows what will be decoded of it."""
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=_USUAL)
        except UnidentifiedImageError:
            Image.init()
            return Image.open(path, formats=[name for name in Image.ID if name != "EPS"])  # a program for Ghostscript
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_size(image: Image.Image, size: int) -> None:
    """Lets a JPEG's decoder skip detail that is resized away; raises `UserError` if too many pixels are left."""
    width, height = image.size
    image.draft(None, (2 * size, 2 * size))
    # a progressive JPEG's coefficients are all kept until its last scan
    pixels = width * height if "progressive" in image.info else image.width * image.height
    if pixels > LARGEST:
        raise UserError(f"{width}×{height} pixels are too many to decode; make it smaller")


def _reduced(image: Image.Image, size: int) -> Image.Image:
    """The middle of a large picture, at least twice `size` if it was, reduced strip by strip to spare memory."""
    image.load()  # which may turn it
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    factor = max(1, side // (2 * size))
    rows = factor * max(1, _STRIP // (side * factor))

    def strips() -> Iterator[tuple[int, Image.Image]]:
        for start in range(0, side, rows):
            yield start, image.crop((left, top + start, left + side, top + min(start + rows, side)))

    deep = image.mode.startswith(("I", "F"))
    white = _white(image.mode, max(_levels(strip).max() for _, strip in strips())) if deep else None
    small: Image.Image | None = None
    for start, strip in strips():
        part = _reducible(_to_eight_bits(strip, white)).reduce(factor)
        small = small or Image.new(part.mode, (part.width, math.ceil(side / factor)))
        small.paste(part, (0, start // factor))
    assert small is not None
    small.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    return small


def _reducible(image: Image.Image) -> Image.Image:
    """Of a mode whose pixels can be averaged."""
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("RGB") if image.mode in ("1", "P") else image


def _levels(image: Image.Image) -> NDArray[np.float64]:
    values = np.array(image, dtype=np.float64)
    return np.clip(np.nan_to_num(values, copy=False), 0, None, out=values)


def _white(mode: str, brightest: float) -> float:
    """What is white in a grey picture: 65535 in 16 bits.

    32 bits do not say it: the first of 1 (floats), 255 and 65535 that no pixel exceeds, or else the brightest pixel.
    """
    usual = {"I": (255, 65535), "F": (1, 255, 65535)}.get(mode, (65535,))
    return next((level for level in usual if brightest <= level), brightest)


def _to_eight_bits(image: Image.Image, white: float | None = None) -> Image.Image:
    """Grey pictures of 16 bits, 32 bits or floats, scaled to 8 bits; others as they are.

    Args:
        image: of any mode.
        white: which level is white, None for what `_white` says.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = _levels(image)
    values /= white or _white(image.mode, values.max())
    values *= 255
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB by way of the embedded colour profile (wide-gamut photographs, CMYK prints), if there is a usable one."""
    if profile and image.mode in ("RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return converted or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile is no reason to lose the picture
    return image.convert("RGB")
