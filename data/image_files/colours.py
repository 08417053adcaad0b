"""Pictures of 8 bits in any mode → opaque RGB in sRGB."""

import io

from PIL import Image, ImageCms, ImageColor

from data.system.errors import UserError


def background_colour(name: str) -> tuple[int, ...]:
    """A CSS colour name or #rrggbb → (r, g, b). Raises `UserError` if it is none."""
    try:
        return ImageColor.getcolor(name, "RGB")  # type: ignore[return-value]
    except ValueError:
        raise UserError(f"background {name!r}: not a colour; give a name such as white, or #rrggbb") from None


def to_opaque(image: Image.Image, background: tuple[int, ...]) -> Image.Image:
    """The picture on a background if it has transparent pixels, else the same."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")


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
