"""Animated WebP, PNG and AVIF, encoded by Pillow from all frames at once; durations are in milliseconds."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from vae.render.formats.frame import Frame, frame_durations

_TICKS = 1000  # a second


def encode_by_pillow(
    path: Path, frames: Iterator[Frame], fps: float, format: str, colours: int | None = None, **options: Any
) -> None:
    """Writes frames, with at most so many colours each; the other options are those of `PIL.Image.Image.save`."""
    images = [Image.fromarray(frame) for frame in frames]
    if colours is not None:
        few = (image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for image in images)
        images = [image.convert("RGB") for image in few]
    durations = [duration for _, duration in zip(images, frame_durations(fps, _TICKS), strict=False)]
    file, (first, *rest) = io.BytesIO(), images
    first.save(file, format, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    path.write_bytes(_without_timestamps(file.getvalue()) if format == "AVIF" else file.getvalue())


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
