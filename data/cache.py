"""A cache of decoded pictures: made once, then memory-mapped.

    <key>/images.u8     count × size × size × channels bytes
    <key>/index.json    the shape, and which files were skipped and why

The key is a hash of all that the bytes depend on. A cache is built under a temporary name and moved into place when
it is whole, so that a half-written one is never found; one that is found is checked before it is used.
"""

import hashlib
import json
import math
import os
import shutil
import time
import uuid
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
from data.system.files import replace_folder

_FORMAT = 2
_BUILDING = ".building-"
_ATTEMPTS = 5
_DAY = 86_400  # seconds, after which a build has been killed


class PictureCache(NamedTuple):
    """The contents of a cache.

    Attributes:
        folder: where it is.
        images: (N, H, W, C) uint8, memory-mapped.
        tried: how many pictures the source had, broken ones included.
        skipped: file → the reason why it is not among the images.
        remarks: lines for the user.
        runs: how many images come from each file, in their order; empty where each is one of its own.
    """

    folder: Path
    images: Tensor
    tried: int
    skipped: dict[str, str]
    remarks: list[str]
    runs: list[int]


def cache_folder(cache_dir: Path, recipe: dict[str, Any]) -> Path:
    """The folder of the cache with this recipe (plain values only)."""
    text = json.dumps({"format": _FORMAT, **recipe}, sort_keys=True)
    return cache_dir / hashlib.sha256(text.encode()).hexdigest()[:32]


def load_cache(folder: Path, shape: tuple[int, ...]) -> PictureCache | None:
    """The cache in that folder.

    Args:
        folder: from `cache_folder`.
        shape: (H, W, C) of each picture.

    Returns:
        None if there is none, or none that is whole and of that shape.
    """
    try:
        index = json.loads((folder / "index.json").read_text())
        count, tried, skipped = index["shape"][0], index["tried"], index["skipped"]
        remarks, runs = index["remarks"], index["runs"]
        texts = isinstance(remarks, list) and all(isinstance(text, str) for text in [*skipped.values(), *remarks])
        counted = type(count) is int and type(tried) is int and 0 < count == tried - len(skipped)
        counted &= isinstance(runs, list) and all(type(run) is int and run > 0 for run in runs)
        counted &= not runs or sum(runs) == count
        if not (texts and counted and index["shape"] == [count, *shape]):
            return None
        if (folder / "images.u8").stat().st_size != count * math.prod(shape):
            return None
        images = np.memmap(folder / "images.u8", dtype=np.uint8, mode="c", shape=(count, *shape))
        return PictureCache(folder, torch.from_numpy(images), tried, skipped, remarks, runs)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def build_cache(folder: Path, source: PictureSource, title: str, shape: tuple[int, ...]) -> PictureCache:
    """Makes a source's pictures, with a progress bar, and caches them.

    Files that have changed since the source's recipe was made are left out, and the cache goes to another folder than
    that of the recipe, so that it is built again next time.

    Args:
        folder: from `cache_folder`.
        source: of the pictures.
        title: of the progress bar.
        shape: (H, W, C) of each picture.

    Raises:
        UserError: all pictures are broken, or the folder cannot be written to.
    """
    report = PictureReport()
    pictures = _with_user_errors(source.pictures(report), title)
    # known before it is made: an interrupt leaves nothing
    temporary = folder.with_name(f"{_BUILDING}{uuid.uuid4().hex}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        temporary.mkdir(mode=0o700)
        with closing(pictures):
            count = _write(temporary, pictures, source.count, report, title, shape)
        if not count:
            tried = len(report.skipped)
            first = next(iter(report.skipped.values()), "nothing was tried")
            raise UserError(f"{title}: none of {tried} pictures could be read; first: {first}")
        if report.changed:
            folder = cache_folder(folder.parent, {"instead_of": folder.name, "changed": report.changed})
        return _move(temporary, folder, shape)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or set --data.cache_dir"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _with_user_errors(pictures: Pictures, title: str) -> Pictures:
    """A source's pictures; its `OSError`s become `UserError`s, for they are not the cache's."""
    try:
        with closing(pictures):
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
    index = {"shape": [count, *shape], "tried": count + len(report.skipped), **notes}
    (folder / "index.json").write_text(json.dumps(index))
    return count


def _move(new: Path, folder: Path, shape: tuple[int, ...]) -> PictureCache:
    """Moves a whole cache to its folder, unless another process was first with one as good."""
    made = load_cache(new, shape)
    assert made is not None
    for attempt in range(_ATTEMPTS):
        if (found := load_cache(folder, shape)) is not None:
            return found
        try:
            replace_folder(new, folder)
            break
        except OSError:  # another process moves one there or away
            if attempt == _ATTEMPTS - 1:
                raise
    return made._replace(folder=folder)


def _remove_abandoned(cache_dir: Path) -> None:
    """Removes the unfinished caches of processes that were killed."""
    for folder in cache_dir.glob(f"{_BUILDING}*"):
        with suppress(OSError):
            newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - newest > _DAY:
                shutil.rmtree(folder, ignore_errors=True)
