"""GIF89a files, written frame by frame with a palette for each frame; durations are in 1/100 s."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from vae.render.formats.frame import Frame, frame_durations
from vae.render.formats.quantize import Quantizer

_TICKS = 100  # a second
_LONGEST_DURATION = 65_535  # ticks: 16 bits
_HEADER = 13  # bytes of a file of `encode_gif` before its first block


def encode_gif(path: Path, frames: Iterator[Frame], fps: float, colours: int = 256, octree: bool = False) -> None:
    """Writes frames with at most so many colours each, found by a `Quantizer`, or fast and coarsely by an octree."""
    find_palette = _octree_palette if octree else Quantizer(colours)
    bits = max(1, (colours - 1).bit_length())
    timed = zip(frames, frame_durations(fps, _TICKS), strict=False)
    with path.open("wb") as file:
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


def with_comment(gif: bytes, comment: str) -> bytes:
    """A file of `encode_gif` with a comment, of at most 255 letters of ASCII, before its first frame."""
    text = comment.encode("ascii")
    return b"%b!\xfe%c%b\0%b" % (gif[:_HEADER], len(text), text, gif[_HEADER:])


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
    """Indices (H, W) into a palette (256, 3)."""
    found = Image.fromarray(frame).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return np.asarray(found), np.resize(np.array(found.getpalette(), np.uint8), (256, 3))
