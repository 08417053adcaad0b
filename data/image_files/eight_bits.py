"""Opened pictures → 8 bits a channel, upright and in sRGB; large ones piece by piece, to spare memory."""

import io
import math

from PIL import ExifTags, Image, ImageCms, ImageOps

from data.image_files.levels import HighDepthImage, WhiteLevels
from data.system.errors import UserError

LARGEST = 178_956_970  # pixels to decode: a gigabyte at most in Pillow's 4 bytes and what comes on top
_LARGE = 1 << 25  # pixels from which on a picture is reduced strip by strip
_STRIP = 1 << 20  # pixels


def check_decoded_size(image: Image.Image, size: int) -> None:
    """Lets a JPEG's decoder skip detail that is resized away; raises `UserError` if too many pixels are left."""
    width, height = image.size
    image.draft(None, (2 * size, 2 * size))
    # a progressive JPEG's coefficients are all kept until its last scan
    pixels = width * height if "progressive" in image.info else image.width * image.height
    if pixels > LARGEST:
        raise UserError(f"{width}×{height} pixels are too many to decode; make it smaller")


def to_eight_bits(image: Image.Image, high: HighDepthImage | None, size: int, white: WhiteLevels) -> Image.Image:
    """The picture in 8 bits a channel, upright; a large one reduced to spare memory, but not below twice `size`."""
    if image.width * image.height > _LARGE:
        eight = _reduced(image, high, size, white)
    elif high is not None:
        image.load()
        eight = high.to_eight_bits(high.white_level(white))
    else:
        return ImageOps.exif_transpose(image)
    eight.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    return ImageOps.exif_transpose(eight)


def _reduced(image: Image.Image, high: HighDepthImage | None, size: int, white: WhiteLevels) -> Image.Image:
    """The middle of a large picture, at least twice `size` if it was, reduced strip by strip to spare memory."""
    image.load()  # which may turn it
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    factor = max(1, side // (2 * size))
    rows = factor * max(1, _STRIP // (side * factor))
    boxes = [(left, top + start, left + side, top + min(start + rows, side)) for start in range(0, side, rows)]
    level = high.white_level(white) if high else 1
    reduced: Image.Image | None = None
    for box in boxes:
        part = _reducible(high.crop(box).to_eight_bits(level) if high else image.crop(box)).reduce(factor)
        reduced = reduced or Image.new(part.mode, (part.width, math.ceil(side / factor)))
        reduced.paste(part, (0, (box[1] - top) // factor))
    assert reduced is not None
    return reduced


def _reducible(image: Image.Image) -> Image.Image:
    """The picture in a mode whose pixels can be averaged."""
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("RGB") if image.mode in ("1", "P") else image


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB by way of the embedded colour profile (wide-gamut photographs, CMYK prints), if there is a usable one."""
    if profile and image.mode in ("RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return converted or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile is no reason to lose the picture
    return image.convert("RGB")
