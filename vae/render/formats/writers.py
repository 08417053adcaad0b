"""Frames → a file; its suffix picks the format, see `encoders`, and without one it is a folder of PNG pictures."""

from collections.abc import Iterable
from pathlib import Path

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
from vae.render.formats.encoders import SUFFIXES, Quality, encode_into, that_fit
from vae.render.formats.frame import Frame

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
    check_rate(suffix, fps)
    if suffix:
        check_writable(path)
        return
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is no folder; a name without suffix means a folder of frames")
    check_writable(path / "0000.png")
    if path.is_dir() and not all(_is_frame(entry) for entry in path.iterdir()):
        raise UserError(f"{path}: holds other things than numbered frames; name a new or empty folder")


def check_rate(suffix: str, fps: float) -> None:
    """Raises `UserError` unless files of that suffix can play so many frames a second."""
    if not _SLOWEST <= fps <= 1000:
        raise UserError(f"fps {fps:g}: must be from {_SLOWEST:g} to 1000")
    if suffix == ".gif" and fps > _FASTEST_GIF:
        raise UserError(f"fps {fps:g}: players slow GIFs down above {_FASTEST_GIF}; use {_FASTEST_GIF}, .webp or .mp4")


def write(frames: Iterable[Frame], path: Path, fps: float, quality: Quality = None) -> None:
    """Writes an animation; a crash leaves what was there before, or the new one, never half of it.

    Args:
        frames: (H, W, 3) uint8, all of one size, at least one.
        path: the suffix picks the format; without one, a folder of numbered PNG pictures.
        fps: frames a second.
        quality: see `encoders.encode_into`; of a folder, whose frames are lossless, there is but one.

    Raises:
        UserError: unknown suffix, a frame rate that the format cannot play, or a place that cannot be written to.
    """
    check(path, fps)
    if path.suffix:
        suffix = path.suffix.lower()
        fitting = that_fit(frames, suffix)
        with atomic_writer(path) as file:
            encode_into(file, fitting, suffix, fps, quality)
    else:
        with storage_errors(path):
            _write_folder(frames, path)


def check_still(path: Path) -> None:
    """Raises `UserError` unless `write_still` could write a picture there."""
    if path.suffix.lower() not in _STILLS:
        raise UserError(f"{path}: not a picture's name; use {' '.join(_STILLS)}")
    check_writable(path)


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
    save_bytes(content, path)


def _is_frame(path: Path) -> bool:
    return path.suffix == ".png" and path.stem.isdigit()


def _write_folder(frames: Iterable[Frame], path: Path) -> None:
    path = resolved(path)
    with temporary_path(path) as temporary:
        temporary.mkdir()
        for index, frame in enumerate(frames):
            with (temporary / f"{index:04d}.png").open("xb") as file:
                Image.fromarray(frame).save(file, "PNG")
        replace_folder(temporary, path)
