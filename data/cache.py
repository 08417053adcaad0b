"""A folder of decoded pictures: made once, memory-mapped ever after.

    <key>/images.u8     count × size × size × channels bytes
    <key>/index.json    the shape, and which files were skipped and why

The key is a hash of all that the bytes depend on. A cache is built under a temporary name and moved into place when
it is whole, so that a half-written one is never found; what is found is looked at before it is trusted.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
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

from data.source import Pictures, Source
from data.system.errors import UserError, printable

_FORMAT = 2
_BUILDING = ".building-"
_ATTEMPTS = 5
_DAY = 86_400  # seconds, after which nobody is building any longer


class Cached(NamedTuple):
    """What a cache holds.

    Attributes:
        folder: where it is.
        images: (N, H, W, C) uint8, memory-mapped.
        tried: how many pictures the source had, broken ones included.
        skipped: file → the reason why it is not among the images.
        remarks: lines on what was done with them.
        runs: how many images come from each file, in their order; empty where each is one of its own.
    """

    folder: Path
    images: Tensor
    tried: int
    skipped: dict[str, str]
    remarks: list[str]
    runs: list[int]


def location(cache_dir: Path, recipe: dict[str, Any]) -> Path:
    """Where the cache of this recipe (plain values only) lives."""
    text = json.dumps({"format": _FORMAT, **recipe}, sort_keys=True)
    return cache_dir / hashlib.sha256(text.encode()).hexdigest()[:32]


def load(folder: Path, shape: tuple[int, ...]) -> Cached | None:
    """The cache in that folder.

    Args:
        folder: from `location`.
        shape: (H, W, C) of each picture.

    Returns:
        None if there is none, or none that is whole and of that shape.
    """
    try:
        index = json.loads((folder / "index.json").read_text())
        count, tried, skipped = index["shape"][0], index["tried"], index["skipped"]
        remarks, runs = index["remarks"], index["runs"]
        told = isinstance(remarks, list) and all(isinstance(text, str) for text in [*skipped.values(), *remarks])
        counted = type(count) is int and type(tried) is int and 0 < count == tried - len(skipped)
        counted &= isinstance(runs, list) and all(type(run) is int and run > 0 for run in runs)
        counted &= not runs or sum(runs) == count
        if not (told and counted and index["shape"] == [count, *shape]):
            return None
        if (folder / "images.u8").stat().st_size != count * math.prod(shape):
            return None
        images = np.memmap(folder / "images.u8", dtype=np.uint8, mode="c", shape=(count, *shape))
        return Cached(folder, torch.from_numpy(images), tried, skipped, remarks, runs)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def build(folder: Path, source: Source, title: str, shape: tuple[int, ...]) -> Cached:
    """Makes a source's pictures, with a progress bar, and keeps them.

    Where files are no longer what the source's recipe says, they are not among the pictures, and the cache goes to
    another folder than the one which that recipe names: with the same files as now, another one will be made.

    Args:
        folder: from `location`.
        source: whose pictures.
        title: what the progress bar calls it.
        shape: (H, W, C) of each picture.

    Raises:
        UserError: all pictures are broken, or the folder cannot be written to.
    """
    pictures = _told(source.pictures(), title)
    temporary = folder.with_name(
        f"{_BUILDING}{uuid.uuid4().hex}"
    )  # known before it is made: an interrupt leaves nothing
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        temporary.mkdir(mode=0o700)
        with closing(pictures):
            count = _write(temporary, pictures, source, title, shape)
        if not count:
            tried = len(source.skipped)
            raise UserError(f"{title}: none of {tried} pictures could be read; first: {_first(source.skipped)}")
        if source.changed:
            folder = location(folder.parent, {"instead_of": folder.name, "changed": source.changed})
        return _place(temporary, folder, shape)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or set --data.cache_dir"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _told(pictures: Pictures, title: str) -> Pictures:
    """A source's pictures; what the system refuses it is not the cache's fault."""
    try:
        with closing(pictures):
            yield from pictures
    except OSError as error:
        raise UserError(f"{title}: cannot be read ({error.strerror or error}); is it still there?") from None


def _write(folder: Path, pictures: Pictures, source: Source, title: str, shape: tuple[int, ...]) -> int:
    shown = f"Preparing {printable(title)}"
    first = list(islice(pictures, 1))  # before it a folder's files are looked into, with a bar of their own
    bar = tqdm(chain(first, pictures), total=source.count, desc=shown, unit=" images", leave=False, delay=1)
    count = 0
    with (folder / "images.u8").open("wb") as file:
        for picture in bar:
            if picture is not None:
                file.write(np.ascontiguousarray(picture).data)
                count += 1
        file.flush()
        os.fsync(file.fileno())
    notes = {"skipped": source.skipped, "remarks": source.remarks, "runs": source.runs}
    index = {"shape": [count, *shape], "tried": count + len(source.skipped), **notes}
    (folder / "index.json").write_text(json.dumps(index))
    return count


def _place(new: Path, folder: Path, shape: tuple[int, ...]) -> Cached:
    """Moves a whole cache to its folder, unless another process was first with one as good."""
    made = load(new, shape)
    assert made is not None
    for _ in range(_ATTEMPTS):
        try:
            new.rename(folder)
            return made._replace(folder=folder)
        except OSError as error:
            if (found := load(folder, shape)) is not None:
                return found
            fault = error
        with suppress(FileNotFoundError):  # it was there
            _clear(folder, shape)
    raise fault


def _clear(folder: Path, shape: tuple[int, ...]) -> None:
    """Removes what is no cache. It is moved away first: where a good one came in between, it is moved back."""
    with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=folder.parent, ignore_cleanup_errors=True) as place:
        old = folder.rename(Path(place) / "old")
        if load(old, shape) is not None:
            with suppress(OSError):  # another one is there already
                old.rename(folder)


def _sweep(cache_dir: Path) -> None:
    """Removes what processes that were killed have left, for they cannot."""
    for folder in cache_dir.glob(f"{_BUILDING}*"):
        with suppress(OSError):
            newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - newest > _DAY:
                shutil.rmtree(folder, ignore_errors=True)


def _first(skipped: dict[str, str]) -> str:
    return next(iter(skipped.values()), "nothing was tried")
