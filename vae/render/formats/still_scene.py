"""Scenes in which nothing moves, as animated PNG and WebP: of frames that are all alike, Pillow makes a still.

A still has no duration. A WebP is put together chunk by chunk (RFC 9649), for its encoder merges like frames always.
"""

import io
import struct
from collections.abc import Sequence

from PIL import Image

_LONGEST = (1 << 24) - 1  # milliseconds of a WebP's frame; an APNG's may last longer


def is_animated(content: bytes) -> bool:
    """Whether the bytes of a picture hold more than one frame."""
    with Image.open(io.BytesIO(content)) as image:
        return bool(getattr(image, "is_animated", False))


def still_scene(still: bytes, suffix: str, durations: Sequence[int]) -> bytes:
    """A picture as an animation of at least two like frames.

    Args:
        still: the bytes of a PNG or WebP, opaque.
        suffix: `.png` or `.webp`.
        durations: in milliseconds, at least two; the sum counts.
    """
    merged = [0]
    for duration in durations[:-1]:
        if merged[-1] + duration > _LONGEST:
            merged.append(0)
        merged[-1] += duration
    merged.append(durations[-1])
    with Image.open(io.BytesIO(still)) as image:
        return _png(image, merged) if suffix == ".png" else _webp(still[12:], image.size, merged)


def _png(image: Image.Image, durations: list[int]) -> bytes:
    file = io.BytesIO()
    rest = [image.copy() for _ in durations[1:]]
    blend = [index % 2 for index in range(len(durations))]  # frames that blend otherwise are not merged
    image.save(file, "PNG", save_all=True, append_images=rest, duration=durations, blend=blend, loop=0)
    return file.getvalue()


def _webp(picture: bytes, size: tuple[int, int], durations: list[int]) -> bytes:
    """A file of frames that all have the same picture, a chunk of its own."""
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in size)
    chunks = [(b"VP8X", b"\2\0\0\0" + canvas), (b"ANIM", bytes(6))]  # animated; for ever
    chunks += [(b"ANMF", bytes(6) + canvas + time.to_bytes(3, "little") + b"\0" + picture) for time in durations]
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(content)) + content for kind, content in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body
