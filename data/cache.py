"""A folder of decoded pictures: made once, memory-mapped ever after.

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
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.errors import UserError
from data.source import Source

_FORMAT = 1


class Cached(NamedTuple):
    """What a cache holds.

    Attributes:
        images: (N, H, W, C) uint8, memory-mapped.
        tried: how many pictures the source had, broken ones included.
        skipped: file → the reason why it is not among the images.
    """

    images: Tensor
    tried: int
    skipped: dict[str, str]


def location(cache_dir: Path, recipe: dict[str, Any]) -> Path:
    """Where the cache of this recipe (plain values only) lives."""
    text = json.dumps({"format": _FORMAT, **recipe}, sort_keys=True)
    return cache_dir / hashlib.sha256(text.encode()).hexdigest()[:32]


def load(folder: Path) -> Cached | None:
    """The cache in that folder, None if there is none or its size is not what its index says."""
    try:
        index = json.loads((folder / "index.json").read_text())
        if (folder / "images.u8").stat().st_size != math.prod(index["shape"]):
            return None
        images = np.memmap(folder / "images.u8", dtype=np.uint8, mode="c", shape=tuple(index["shape"]))
        return Cached(torch.from_numpy(images), index["tried"], index["skipped"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def build(folder: Path, source: Source, title: str) -> Cached:
    """Makes a source's pictures, with a progress bar, and keeps them.

    Args:
        folder: from `location`.
        source: whose pictures.
        title: what the progress bar calls it.

    Raises:
        UserError: all pictures are broken, or the folder cannot be written to.
    """
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
        _write(temporary, source, title)
        if folder.exists() and load(folder) is None:
            shutil.rmtree(folder)
        try:
            temporary.rename(folder)
        except OSError:
            if load(folder) is None:  # else another process was first, which is as good
                raise
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or set --data.cache_dir"
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    found = load(folder)
    if found is None:
        raise UserError(f"{title}: none of {source.count} pictures could be read; first: {_first(source.skipped)}")
    return found


def _write(folder: Path, source: Source, title: str) -> None:
    bar = tqdm(source.pictures(), total=source.count, desc=f"Preparing {title}", unit=" images", leave=False, delay=1)
    shape: tuple[int, ...] = (0,)
    count = 0
    with (folder / "images.u8").open("wb") as file:
        for picture in bar:
            if picture is not None:
                file.write(np.ascontiguousarray(picture).data)
                count, shape = count + 1, picture.shape
        file.flush()
        os.fsync(file.fileno())
    index = {"shape": [count, *shape], "tried": source.count, "skipped": source.skipped}
    (folder / "index.json").write_text(json.dumps(index))


def _first(skipped: dict[str, str]) -> str:
    return next(iter(skipped.values()), "nothing was tried")
