"""Animated WebP, PNG and AVIF, encoded by Pillow from all frames at once; durations are in milliseconds."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image

from vae.render.formats.format import Format, Quality
from vae.render.formats.frame import Frame
from vae.render.formats.frame_rate import frame_durations
from vae.render.formats.still_scene import is_animated, still_scene

_TICKS = 1000  # a second


@dataclass(frozen=True)
class PillowEncoder:
    """An `AnimationEncoder` that runs Pillow. A quality is one from 0 to 100; of PNG, which has none, colours a frame.

    Attributes:
        name: Pillow's, of the format.
        options: of `PIL.Image.Image.save`.
        draft_options: likewise, in place of those, for drafts.
    """

    name: str
    options: dict[str, Any]
    draft_options: dict[str, Any]

    def __call__(self, file: BinaryIO, frames: Iterator[Frame], fps: float, quality: Quality) -> None:
        options = self.options | (self.draft_options if quality == "draft" else {})
        first, *rest = map(Image.fromarray, frames)
        durations = [duration for _, duration in zip([first, *rest], frame_durations(fps, _TICKS), strict=False)]
        if isinstance(quality, int) and self.name == "PNG":
            few = (
                image.quantize(quality, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for image in [first, *rest]
            )
            first, *rest = (image.convert("RGB") for image in few)
        elif isinstance(quality, int):
            options = options | {"quality": quality}
        saved = io.BytesIO()
        first.save(saved, self.name, save_all=True, append_images=rest, duration=durations, loop=0, **options)
        content = saved.getvalue()
        if self.name == "AVIF":
            content = _without_timestamps(content)
        elif rest and not is_animated(content):
            content = still_scene(content, self.name, durations)
        file.write(content)


def _without_timestamps(content: bytes) -> bytes:
    """An AVIF sequence whose times of creation and modification are 0, so that equal frames make equal bytes.

    The times are in the boxes `mvhd`, `tkhd` and `mdhd` (ISO/IEC 14496-12).
    """
    plain = bytearray(content)
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        start = content.find(box) + len(box)
        if start >= len(box):
            size = 16 if plain[start] == 1 else 8  # of both times; a version and three bytes of flags come before them
            plain[start + 4 : start + 4 + size] = bytes(size)
    return bytes(plain)


WEBP = Format(
    ".webp",
    PillowEncoder("WEBP", {"quality": 90, "method": 4, "kmin": 0, "kmax": 1}, {"method": 0}),  # kmax: merge no frames
    qualities=(75, 50, 25, 10),
    longest_side=16_383,
)
PNG = Format(".png", PillowEncoder("PNG", {}, {"compress_level": 1}), qualities=(256, 64, 16), quality_unit="colours")
AVIF = Format(".avif", PillowEncoder("AVIF", {"quality": 85, "speed": 6}, {"speed": 10}), qualities=(65, 45, 30, 15))
