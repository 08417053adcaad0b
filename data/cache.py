"""A cache of decoded pictures: made once, then memory-mapped.

    <key>/images.u8     count × size × size × channels bytes
    <key>/index.json    the shape, and which files were skipped and why

The key is a hash of all that the bytes depend on. A cache is built under a temporary name and moved into place when
it is whole, so that a half-written one is never found.
"""

import hashlib
import json
import math
import os
import shutil
import time
from contextlib import closing, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.picture_source import PictureReport, Pictures, PictureSource
from data.system.errors import UserError, escape_unprintable
from data.system.files import temporary_path

_FORMAT = 2
_DAY = 86_400  # seconds, after which a build has been killed
_NAMED = 10  # broken pictures


class PictureCache(NamedTuple):
    """The contents of a cache; of `skipped`, `remarks` and `runs`, see `PictureReport`."""

    folder: Path
    images: Tensor  # (N, H, W, C) uint8, memory-mapped
    skipped: dict[str, str]
    remarks: list[str]
    runs: list[int]

    def describe_skipped(self, source: str) -> str:
        """A line that names the broken pictures; empty if there are none. Raises `UserError` if most are broken."""
        faults, tried = list(self.skipped.values()), len(self.skipped) + len(self.images)
        if 2 * len(faults) > tried:
            raise UserError(
                f"{source}: {len(faults)} of {tried} pictures are broken, among them {faults[0]}; "
                "is this the folder you meant?"
            )
        more = f"; … all in {self.folder / 'index.json'}" if len(faults) > _NAMED else ""
        return f"Skipped {len(faults)} of {tried} pictures: {'; '.join(faults[:_NAMED])}{more}" if faults else ""


def cache_folder(cache_dir: Path, recipe: dict[str, Any]) -> Path:
    """The folder of the cache with this recipe (plain values only)."""
    text = json.dumps({"format": _FORMAT, **recipe}, sort_keys=True)
    return cache_dir / hashlib.sha256(text.encode()).hexdigest()[:32]


def load_cache(folder: Path, shape: tuple[int, ...]) -> PictureCache | None:
    """The cache in a folder from `cache_folder`, of pictures (H, W, C); None if there is none that is whole."""
    try:
        index = json.loads((folder / "index.json").read_text())
        count = math.prod(index["shape"]) // math.prod(shape)
        if index["shape"] != [count, *shape] or (folder / "images.u8").stat().st_size != count * math.prod(shape):
            return None
        images = np.memmap(folder / "images.u8", dtype=np.uint8, mode="c", shape=(count, *shape))
        return PictureCache(folder, torch.from_numpy(images), index["skipped"], index["remarks"], index["runs"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def build_cache(folder: Path, source: PictureSource, title: str, shape: tuple[int, ...]) -> PictureCache:
    """Makes a source's pictures, with a progress bar of that title, and caches them in a folder from `cache_folder`.

    Files that have changed since the recipe was made are left out; the cache then goes to another folder, so that it
    is built again next time. Raises `UserError` if all pictures are broken, or the folder cannot be written to.
    """
    report = PictureReport()
    try:
        _remove_abandoned(folder.parent)
        with temporary_path(folder) as temporary, closing(source.pictures(report)) as pictures:
            temporary.mkdir(mode=0o700)
            if not _write(temporary, _with_user_errors(pictures, title), source.count, report, title, shape):
                first = next(iter(report.skipped.values()), "nothing was tried")
                raise UserError(f"{title}: none of {len(report.skipped)} pictures could be read; first: {first}")
            if report.changed:
                folder = cache_folder(folder.parent, {"instead_of": folder.name, "changed": report.changed})
            return _move(temporary, folder, shape)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or set --data.cache_dir"
        ) from None


def _with_user_errors(pictures: Pictures, title: str) -> Pictures:
    """A source's pictures; its `OSError`s become `UserError`s, for they are not the cache's."""
    try:
        yield from pictures
    except OSError as error:
        raise UserError(f"{title}: cannot be read ({error.strerror or error}); is it still there?") from None


def _write(
    folder: Path, pictures: Pictures, total: int | None, report: PictureReport, title: str, shape: tuple[int, ...]
) -> int:
    """Writes the files of a cache; returns how many pictures it holds."""
    description = f"Preparing {escape_unprintable(title)}"
    first = list(islice(pictures, 1))  # before it a folder's files are looked into, with a bar of their own
    bar = tqdm(chain(first, pictures), total=total, desc=description, unit=" images", leave=False, delay=1)
    count = 0
    with (folder / "images.u8").open("wb") as file:
        for picture in bar:
            if picture is not None:
                file.write(np.ascontiguousarray(picture).data)
                count += 1
        file.flush()
        os.fsync(file.fileno())
    notes = {"skipped": report.skipped, "remarks": report.remarks, "runs": report.runs}
    (folder / "index.json").write_text(json.dumps({"shape": [count, *shape], **notes}))
    return count


def _move(new: Path, folder: Path, shape: tuple[int, ...]) -> PictureCache:
    """Moves a whole cache to its folder, unless another process was first with one as good; a broken one goes."""
    try:
        new.rename(folder)
    except OSError:
        if load_cache(folder, shape) is None:
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    if (found := load_cache(folder, shape)) is None:
        raise OSError("another process writes there")
    return found


def _remove_abandoned(cache_dir: Path) -> None:
    """Removes the unfinished caches of processes that were killed."""
    for folder in cache_dir.glob(".*-*"):
        with suppress(OSError):
            if time.time() - (folder / "images.u8").stat().st_mtime > _DAY:
                shutil.rmtree(folder, ignore_errors=True)
