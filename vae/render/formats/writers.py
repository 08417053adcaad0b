"""Frames → files. The suffix picks the format (`vae.render.formats.format`); without one, it is a folder of PNGs.

Still pictures are encoded by imageio, numbered frames by Pillow, which it uses, too.
"""

from collections.abc import Iterable
from io import BytesIO
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio.v3 as iio
from PIL import Image

from data.system.errors import UserError
from data.system.files import (
    atomic_writer,
    check_writable,
    replace_folder,
    resolved,
    save_bytes,
    storage_errors,
    temporary_path,
)
from vae.render.formats.format import FORMATS, Format, Quality
from vae.render.formats.frame import Frame

STILL_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif")
_LOWEST_FPS = 0.01  # a GIF's duration has 16 bits


def check(path: Path, fps: float) -> None:
    """Raises `UserError` unless `write` could write such an animation there."""
    suffix = path.suffix.lower()
    if not path.name or path.name.lower() in FORMATS:
        raise UserError(f"{path}: has no name; write for example renders/morph.gif")
    if suffix and suffix not in FORMATS:
        raise UserError(f"{path}: cannot write {suffix}; use {' '.join(FORMATS)}, or no suffix for a folder of frames")
    check_rate(suffix, fps)
    if suffix:
        check_writable(path)
        return
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is no folder; a name without suffix means a folder of frames")
    check_writable(path / "0000.png")
    if path.is_dir() and not all(entry.suffix == ".png" and entry.stem.isdigit() for entry in path.iterdir()):
        raise UserError(f"{path}: holds other things than numbered frames; name a new or empty folder")


def check_rate(suffix: str, fps: float) -> None:
    """Raises `UserError` unless files of that suffix, "" for a folder, can play so many frames a second."""
    highest = FORMATS[suffix].highest_fps if suffix else Format.highest_fps
    if not _LOWEST_FPS <= fps <= Format.highest_fps:
        raise UserError(f"fps {fps:g}: must be from {_LOWEST_FPS:g} to {Format.highest_fps:g}")
    if fps > highest:
        raise UserError(f"fps {fps:g}: players slow {suffix} down above {highest:g}; use {highest:g}, .webp or .mp4")


def write(
    frames: Iterable[Frame], path: Path | str, fps: float, quality: Quality = None, audio: Path | None = None
) -> None:
    """Writes an animation; a crash leaves the old file or the new one, never half of it.

    Args:
        frames: (H, W, 3) uint8, all of one size, at least one.
        path: the suffix picks the format; without one, a folder of numbered PNG pictures, always without loss.
        fps: frames a second.
        quality: None is the best, "draft" is encoded faster and less well, a number is one of `Format.qualities`.
        audio: a file whose sound goes with the frames, where `Format.has_sound`.

    Raises:
        UserError: unknown suffix, a rate that the format cannot play, no frames or too large ones, or a full disk.
    """
    path = Path(path)
    check(path, fps)
    if path.suffix:
        with atomic_writer(path) as file:
            _encode(frames, path.suffix.lower(), Path(file.name), fps, quality, audio)
    else:
        with storage_errors(path):
            _write_folder(frames, resolved(path))


def encode_animation(frames: Iterable[Frame], suffix: str, fps: float, quality: Quality = None) -> bytes:
    """The bytes of the file that `write` would write. Raises `UserError` for no frames or too large ones."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "animation")
        _encode(frames, suffix, path, fps, quality)
        return path.read_bytes()


def _encode(
    frames: Iterable[Frame], suffix: str, path: Path, fps: float, quality: Quality, audio: Path | None = None
) -> None:
    """Writes a file whatever its name. Raises `UserError` for no frames or too large ones."""
    form, rest = FORMATS[suffix], iter(frames)
    if (first := next(rest, None)) is None:
        raise UserError("frames: there are none; give at least one")
    height, width, _ = first.shape
    if max(height, width) > form.longest_side:
        raise UserError(f"{width}×{height} pixels are too many for {suffix}; give a smaller --size or fewer tiles")
    form.encode(path, chain([first], rest), fps, quality, audio)


def _write_folder(frames: Iterable[Frame], path: Path) -> None:
    with temporary_path(path) as temporary:
        temporary.mkdir()
        for index, frame in enumerate(frames):
            content = BytesIO()  # imageio's writer prints a traceback if Ctrl-C comes while it is made
            Image.fromarray(frame).save(content, "png")
            (temporary / f"{index:04d}.png").write_bytes(content.getvalue())
        replace_folder(temporary, path)


def check_still(path: Path) -> None:
    """Raises `UserError` unless `write_still` could write a picture there."""
    if path.suffix.lower() not in STILL_SUFFIXES:
        raise UserError(f"{path}: not a picture's name; use {' '.join(STILL_SUFFIXES)}")
    check_writable(path)


def write_still(frame: Frame, path: Path) -> None:
    """Writes one picture, whole or not at all. Raises `UserError` if it is too large or the place will not do."""
    check_still(path)
    try:
        content = iio.imwrite("<bytes>", frame, extension=path.suffix.lower())
    except (OSError, ValueError, OverflowError):
        height, width, _ = frame.shape
        raise UserError(f"{path}: {width}×{height} pixels are too many for {path.suffix}; use .png") from None
    save_bytes(content, path)
