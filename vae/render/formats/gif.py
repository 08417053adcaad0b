"""GIF89a files, written frame by frame with a palette for each."""

import struct
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from vae.render.formats.frame import Frame
from vae.render.formats.quantize import Quantizer

_LONGEST = 65_535  # ticks, of 16 bits


def gif(frames: Iterable[tuple[Frame, int]], colours: int = 256, draft: bool = False) -> Iterator[bytes]:
    """A file that plays for ever, piece by piece.

    Args:
        frames: (H, W, 3) uint8, all of one size, at least one, each with its delay in 1/100 s.
        colours: of each frame, at most 256.
        draft: whether palettes may be coarse, all of 256 colours.
    """
    palette = _octree if draft else Quantizer(colours)
    bits = 8 if draft else max(1, (colours - 1).bit_length())
    for index, (frame, delay) in enumerate(_merged(frames)):
        height, width, _ = frame.shape
        if not index:
            yield struct.pack("<6sHHBBB", b"GIF89a", width, height, 0x70, 0, 0)
            yield b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
        indices, table = palette(frame)
        yield struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 0, delay, 0, 0)
        yield struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, 0x80 | (bits - 1))
        yield np.resize(table, (2**bits, 3)).tobytes()
        yield b"\x08" + Image.fromarray(indices).tobytes("gif", "L") + b"\0"
    yield b";"


def _merged(frames: Iterable[tuple[Frame, int]]) -> Iterator[tuple[Frame, int]]:
    """Like frames become one that stays longer."""
    every = iter(frames)
    held, rest = next(every)
    for frame, delay in every:
        if rest + delay <= _LONGEST and np.array_equal(frame, held):
            rest += delay
        else:
            yield held, rest
            held, rest = frame, delay
    yield held, rest


def _octree(frame: Frame) -> tuple[Frame, Frame]:
    """Indices (H, W) of the colours of a palette (256, 3), by Pillow alone: quick and coarse."""
    found = Image.fromarray(frame).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return np.asarray(found), np.resize(np.array(found.getpalette(), np.uint8), (256, 3))
