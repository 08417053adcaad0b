"""GIF89a files, written frame by frame with a palette for each frame; durations are in 1/100 s."""

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from vae.render.formats.format import Format, Quality
from vae.render.formats.frame import Frame
from vae.render.formats.frame_rate import frame_durations
from vae.render.formats.quantize import Quantizer

_TICKS = 100  # a second
_LONGEST_DURATION = 65_535  # ticks: 16 bits


def encode_gif(file: BinaryIO, frames: Iterator[Frame], fps: float, quality: Quality) -> None:
    """Writes a GIF that plays for ever; an `AnimationEncoder`. A quality is a number of colours, at most 256."""
    draft, colours = quality == "draft", quality if isinstance(quality, int) else 256
    find_palette = _octree_palette if draft else Quantizer(colours)
    bits = max(1, (colours - 1).bit_length())
    timed = zip(frames, frame_durations(fps, _TICKS), strict=False)
    for index, (frame, duration) in enumerate(_merge_equal(timed)):
        height, width, _ = frame.shape
        if not index:
            file.write(struct.pack("<6sHHBBB", b"GIF89a", width, height, 0x70, 0, 0))
            file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")
        indices, palette = find_palette(frame)
        file.write(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 0, duration, 0, 0))
        file.write(struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, 0x80 | (bits - 1)))
        file.write(np.resize(palette, (2**bits, 3)).tobytes())
        file.write(b"\x08" + Image.fromarray(indices).tobytes("gif", "L") + b"\0")
    file.write(b";")


def _merge_equal(frames: Iterable[tuple[Frame, int]]) -> Iterator[tuple[Frame, int]]:
    """Frames and durations in which consecutive equal frames have become one that lasts longer."""
    rest = iter(frames)
    current, total = next(rest)
    for frame, duration in rest:
        if total + duration <= _LONGEST_DURATION and np.array_equal(frame, current):
            total += duration
        else:
            yield current, total
            current, total = frame, duration
    yield current, total


def _octree_palette(frame: Frame) -> tuple[Frame, Frame]:
    """Indices (H, W) into a palette (256, 3), found by Pillow's octree: fast and coarse."""
    found = Image.fromarray(frame).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return np.asarray(found), np.resize(np.array(found.getpalette(), np.uint8), (256, 3))


GIF = Format(
    ".gif", encode_gif, qualities=(128, 64, 32, 16), quality_unit="colours", streamed=True, highest_fps=50
)  # players slow down frames that last less than 2/100 s
