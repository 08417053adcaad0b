"""Frames → a file; its suffix picks the format.

    .gif                      delays in whole 1/100 s
    .webp .png .avif          animated; delays in whole 1/1000 s
    .mp4 .webm                H.264 and VP9; an odd side gains a pixel, for their colour planes have half the size
    a folder (no suffix)      numbered PNG pictures

Delays carry their rounding forward, so that an animation runs at its true frame rate over all.
"""

import io
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sized
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import Image

from data.errors import UserError
from data.files import check_places, save, swap, umask, writing
from vae.frames import Frame

# suffix: delay ticks a second, Pillow's name of the format, its options
_PILLOW: dict[str, tuple[int, str, dict[str, Any]]] = {
    ".gif": (100, "GIF", {}),
    ".webp": (1000, "WEBP", {"quality": 90, "method": 4, "kmin": 0, "kmax": 1}),  # else like frames are merged
    ".png": (1000, "PNG", {}),
    ".avif": (1000, "AVIF", {"quality": 85, "speed": 6}),
}
_VIDEO: dict[str, tuple[str, dict[str, str]]] = {
    ".mp4": ("libx264", {"crf": "16", "preset": "medium"}),
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0"}),
}
SUFFIXES = (*_PILLOW, *_VIDEO)
# what can be given up for a smaller file, step by step: colours of a picture, quality from 100 down, or CRF from 0 up
QUALITIES: dict[str, tuple[int, ...]] = {
    ".gif": (128, 64, 32, 16),
    ".png": (256, 64, 16),
    ".webp": (75, 50, 25, 10),
    ".avif": (65, 45, 30, 15),
    ".mp4": (22, 28, 34, 40),
    ".webm": (32, 40, 48, 56),
}
_STILLS = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif")
_FASTEST_GIF = 50  # players slow down delays under 2/100 s
_SLOWEST = 0.01  # a GIF's delay has 16 bits


def check(path: Path, fps: float) -> None:
    """Raises `UserError` unless `write` could write such an animation there."""
    suffix = path.suffix.lower()
    if not path.name or path.name.lower() in SUFFIXES:
        raise UserError(f"{path}: has no name; write for example renders/morph.gif")
    if suffix and suffix not in SUFFIXES:
        raise UserError(f"{path}: cannot write {suffix}; use {' '.join(SUFFIXES)}, or no suffix for a folder of frames")
    if not _SLOWEST <= fps <= 1000:
        raise UserError(f"fps {fps:g}: must be from {_SLOWEST:g} to 1000")
    if suffix == ".gif" and fps > _FASTEST_GIF:
        raise UserError(f"fps {fps:g}: players slow GIFs down above {_FASTEST_GIF}; use {_FASTEST_GIF}, .webp or .mp4")
    if not suffix and path.is_file():
        raise UserError(f"{path}: is a file; a name without suffix means a folder of frames")
    if suffix:
        check_places(path)
    elif path.is_dir() and not all(_is_frame(entry) for entry in path.iterdir()):
        raise UserError(f"{path}: holds other things than numbered frames; name a new or empty folder")


def delays(count: int, fps: float, ticks: int) -> list[int]:
    """Whole delays in ticks whose running sum is never off by more than half a tick.

    >>> delays(4, 30, 100)
    [3, 4, 3, 3]
    """
    ends = [round(Fraction(ticks * (index + 1)) / Fraction(fps)) for index in range(count)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def encode(frames: Iterable[Frame], suffix: str, fps: float, quality: int | None = None) -> bytes:
    """An animation as a file's bytes.

    Args:
        frames: (H, W, 3) uint8, all of one size, at least one; if they know their number, GIFs and videos take them
            one by one.
        suffix: one of `SUFFIXES`.
        fps: frames a second.
        quality: one of `QUALITIES` of the suffix; null is the usual one.
    """
    if suffix in _VIDEO:
        return _encode_video(frames, suffix, fps, quality)
    ticks, name, options = _PILLOW[suffix]
    sized = frames if isinstance(frames, Sized) else list(frames)
    durations = [delay * 1000 // ticks for delay in delays(len(sized), fps, ticks)]
    images: Iterator[Image.Image] = map(Image.fromarray, sized)
    if quality is not None and suffix in (".gif", ".png"):
        few = (image.quantize(quality, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for image in images)
        images = few if suffix == ".gif" else (image.convert("RGB") for image in few)
    elif quality is not None:
        options = options | {"quality": quality}
    first = next(images)
    rest = images if suffix == ".gif" else list(images)  # the GIF encoder alone takes them one by one
    file = io.BytesIO()
    try:
        first.save(file, name, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    except (struct.error, OverflowError, ValueError):
        raise UserError(f"{suffix}: cannot rest on like frames for so long; use .mp4 or a higher --fps") from None
    return _timeless(file.getvalue()) if suffix == ".avif" else file.getvalue()


def _timeless(content: bytes) -> bytes:
    """An AVIF sequence without the time of its writing, so that like frames make like bytes (ISO 14496-12)."""
    plain = bytearray(content)
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        start = content.find(box) + len(box)
        if start >= len(box):
            size = 16 if plain[start] == 1 else 8  # two times; a version and three bytes of flags come before them
            plain[start + 4 : start + 4 + size] = bytes(size)
    return bytes(plain)


def _encode_video(frames: Iterable[Frame], suffix: str, fps: float, quality: int | None) -> bytes:
    import av  # its start-up is spared to those who write no video

    codec, options = _VIDEO[suffix]
    if quality is not None:
        options = options | {"crf": str(quality)}
    file = io.BytesIO()
    even = (np.pad(frame, [(0, side % 2) for side in frame.shape[:2]] + [(0, 0)], mode="edge") for frame in frames)
    first = next(even)
    # bitexact: without it a WebM holds random identifiers
    with av.open(file, "w", format=suffix[1:], options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        assert isinstance(stream, av.VideoStream)
        (stream.height, stream.width), stream.pix_fmt = first.shape[:2], "yuv420p"
        for frame in chain([first], even):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def write(frames: Iterable[Frame], path: Path, fps: float) -> None:
    """Writes an animation; a crash leaves what was there before, or the new one, never half of it.

    Args:
        frames: (H, W, 3) uint8, all of one size, at least one.
        path: the suffix picks the format; without one, a folder of numbered PNG pictures.
        fps: frames a second.

    Raises:
        UserError: unknown suffix, a frame rate that the format cannot play, or a place that cannot be written to.
    """
    check(path, fps)
    if path.suffix:
        save(encode(frames, path.suffix.lower(), fps), path)
    else:
        with writing(path):
            _write_folder(frames, path)


def check_still(path: Path) -> None:
    """Raises `UserError` unless `write_still` could write a picture there."""
    if path.suffix.lower() not in _STILLS:
        raise UserError(f"{path}: not a picture's name; use {' '.join(_STILLS)}")
    check_places(path)


def write_still(frame: Frame, path: Path) -> None:
    """Writes one picture, whole or not at all.

    Raises:
        UserError: unknown suffix, or a place that cannot be written to.
    """
    check_still(path)
    try:
        content = iio.imwrite("<bytes>", frame, extension=path.suffix.lower())
    except (OSError, ValueError, OverflowError):
        height, width, _ = frame.shape
        raise UserError(f"{path}: {width}×{height} pixels are too many for {path.suffix}; use .png") from None
    save(content, path)


def _is_frame(path: Path) -> bool:
    return path.suffix == ".png" and path.stem.isdigit()


def _write_folder(frames: Iterable[Frame], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        for index, frame in enumerate(frames):
            iio.imwrite(temporary / f"{index:04d}.png", frame)
        temporary.chmod(0o777 & ~umask())
        swap(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
