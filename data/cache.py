"""A cache of decoded pictures: made once by `cache_build`, then memory-mapped.

    <key>/images.u8     count × size × size × channels bytes
    <key>/index.json    the shape, and which files were skipped and why
    <key>/digests-0.u8  16 bytes a picture, once a training with seed 0 has asked for them

The key is a hash of all that the bytes depend on.
"""

import hashlib
import json
import math
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.split import DIGEST, digests
from data.system.bars import Bar
from data.system.errors import UserError
from data.system.files import save_bytes

_FORMAT = 2
_NAMED = 10  # broken pictures
IMAGES, INDEX = "images.u8", "index.json"


class PictureCache(NamedTuple):
    """The contents of a cache; of `skipped`, `remarks`, `runs` and `classes`, see `PictureReport`."""

    folder: Path
    images: Tensor  # (N, H, W, C) uint8, memory-mapped
    skipped: dict[str, str]
    remarks: list[str]
    runs: list[int]
    classes: dict[str, int]

    def describe_skipped(self, source: str) -> str:
        """A line that names the broken pictures; empty if there are none. Raises `UserError` if most are broken."""
        faults, tried = list(self.skipped.values()), len(self.skipped) + len(self.images)
        if 2 * len(faults) > tried:
            raise UserError(
                f"{source}: {len(faults)} of {tried} pictures are broken, among them {faults[0]}; "
                "is this the folder you meant?"
            )
        more = f"; … all in {self.folder / INDEX}" if len(faults) > _NAMED else ""
        return f"Skipped {len(faults)} of {tried} pictures: {'; '.join(faults[:_NAMED])}{more}" if faults else ""

    def digests(self, seed: int, show: bool) -> list[bytes]:
        """The `split.digests` of the pictures, kept beside them, as all pictures are read for them.

        Args:
            seed: of the digests.
            show: whether there is a progress bar.
        """
        path = self.folder / f"digests-{seed}.u8"
        with suppress(OSError):
            if len(kept := path.read_bytes()) == DIGEST * len(self.images):
                return [kept[start : start + DIGEST] for start in range(0, len(kept), DIGEST)]
        bar = Bar(self.images, "Comparing", unit=" images", disable=not show)
        known = digests(bar, seed)
        with suppress(UserError):  # the cache of another user, or on a full disk
            save_bytes(b"".join(known), path)
        return known


def cache_folder(cache_dir: Path, recipe: dict[str, Any]) -> Path:
    """The folder of the cache with this recipe (plain values only)."""
    text = json.dumps({"format": _FORMAT, **recipe}, sort_keys=True)
    return cache_dir / hashlib.sha256(text.encode()).hexdigest()[:32]


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a file from `write_json`; None if it is not there, or broken."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file that will be moved into place, itself or its folder."""
    with path.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def read_index(folder: Path, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """The index of a cache of pictures (H, W, C), or of a part of one; None unless it is whole."""
    if (index := read_json(folder / INDEX)) is None:
        return None
    try:
        size = math.prod(index["shape"])
        whole = index["shape"] == [size // math.prod(shape), *shape] and (folder / IMAGES).stat().st_size == size
        return index if whole and {"skipped", "remarks", "runs"} <= index.keys() else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def load_cache(folder: Path, shape: tuple[int, ...]) -> PictureCache | None:
    """The cache in a folder from `cache_folder`, of pictures (H, W, C); None if there is none that is whole."""
    if (index := read_index(folder, shape)) is None:
        return None
    try:
        images = np.memmap(folder / IMAGES, dtype=np.uint8, mode="c", shape=tuple(index["shape"]))
        notes = index["skipped"], index["remarks"], index["runs"], index.get("classes", {})
        return PictureCache(folder, torch.from_numpy(images), *notes)
    except (OSError, ValueError):  # it has no pictures
        return None


def move_cache(new: Path, folder: Path, shape: tuple[int, ...]) -> None:
    """Moves what is whole to its folder, unless another process was first with one as good; a broken one goes."""
    try:
        new.rename(folder)
    except OSError:
        if load_cache(folder, shape) is None:
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    if read_index(folder, shape) is None:
        raise OSError("another process writes there")
