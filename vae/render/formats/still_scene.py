"""Animated PNG and WebP of equal frames, of which Pillow alone would make a still picture without a duration.

A WebP is put together chunk by chunk (RFC 9649), because its encoder always merges equal frames.
"""

import io
import struct
from collections.abc import Sequence

from PIL import Image

_LONGEST_DURATION = (1 << 24) - 1  # milliseconds of a WebP's frame; an APNG's may last longer


def is_animated(content: bytes) -> bool:
    """True if the bytes of a picture hold more than one frame."""
    with Image.open(io.BytesIO(content)) as image:
        return bool(getattr(image, "is_animated", False))


def still_scene(still: bytes, name: str, durations: Sequence[int]) -> bytes:
    """An animation of two or more equal frames.

    Args:
        still: the bytes of a PNG or WebP, opaque.
        name: Pillow's, of the format: PNG or WEBP.
        durations: in milliseconds, at least two; the animation lasts their sum.
    """
    merged = [0]
    for duration in durations[:-1]:
        if merged[-1] + duration > _LONGEST_DURATION:
            merged.append(0)
        merged[-1] += duration
    merged.append(durations[-1])
    with Image.open(io.BytesIO(still)) as image:
        return _png(image, merged) if name == "PNG" else _webp(still[12:], image.size, merged)


def _png(image: Image.Image, durations: list[int]) -> bytes:
    file = io.BytesIO()
    rest = [image.copy() for _ in durations[1:]]
    blend = [index % 2 for index in range(len(durations))]  # Pillow merges equal frames only where they blend alike
    image.save(file, "PNG", save_all=True, append_images=rest, duration=durations, blend=blend, loop=0)
    return file.getvalue()


def _webp(picture: bytes, size: tuple[int, int], durations: list[int]) -> bytes:
    """A file of frames that all have the same picture, a chunk of its own."""
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in size)
    chunks = [(b"VP8X", b"\2\0\0\0" + canvas), (b"ANIM", bytes(6))]  # animated; for ever
    chunks += [(b"ANMF", bytes(6) + canvas + time.to_bytes(3, "little") + b"\0" + picture) for time in durations]
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(content)) + content for kind, content in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body
