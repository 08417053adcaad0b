"""The one home of pixel conversion: picture file → uint8 → tensor in [-1, 1], and back."""

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageColor, ImageOps
from torch import Tensor

from data.errors import UserError


def to_tensor(pixels: Tensor) -> Tensor:
    """uint8 (N, H, W, C) → float32 (N, C, H, W) in [-1, 1], laid out channels-last in memory.

    >>> to_tensor(torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1)).flatten().tolist()
    [-1.0, 1.0]
    """
    return pixels.permute(0, 3, 1, 2).to(torch.float32, copy=True).div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """Float (N, C, H, W) in [-1, 1] → uint8 (N, H, W, C): rounds, clips what lies outside; undoes `to_tensor`."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey pictures of 16 bits, 32 bits or floats, scaled to 8 bits; others as they are.

    White is 65535 in 16 bits. 32 bits do not say what it is: the first of 1 (floats), 255 and 65535 that no pixel
    exceeds, or else the brightest pixel.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64)).clip(0)
    usual = {"I": (255, 65535), "F": (1, 255, 65535)}.get(image.mode, (65535,))
    white = next((level for level in usual if values.max() <= level), values.max())
    return Image.fromarray((values / white * 255).round().astype(np.uint8))


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
    animation, the first frame counts.

    Args:
        path: a file that Pillow can open.
        size: side of the result.
        channels: 1 or 3.
        background: colour that shows through transparent pixels.

    Returns:
        (size, size, channels) uint8.

    Raises:
        UserError: the file is missing, broken or not a picture.
    """
    colour = background_colour(background)
    try:
        with Image.open(path) as opened:
            opened.draft(None, (2 * size, 2 * size))  # lets the JPEG decoder skip detail that is resized away
            profile = opened.info.get("icc_profile")
            image = _to_eight_bits(ImageOps.exif_transpose(opened))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                opaque = Image.new("RGBA", image.size, (*colour, 255))
                image = Image.alpha_composite(opaque, image).convert("RGB")
            image = ImageOps.fit(_to_srgb(image, profile), (size, size), Image.Resampling.LANCZOS)
            pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a readable picture ({reason})") from None
    return pixels.reshape(size, size, channels)
