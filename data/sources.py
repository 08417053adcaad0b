"""Sources of pictures by name: the table to which another is added, or else a folder."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from data.image_files.folder import open_folder
from data.picture_source import PictureSource, PictureSpec
from data.synthetic.lines import lines
from data.synthetic.patterns import patterns
from data.synthetic.procedural import open_procedural
from data.system.errors import UserError
from data.system.files import check_utf8, user_path
from data.system.spelling import closest_match, suggest_file
from data.torchvision_sets import open_torchvision_set

PROCEDURAL = {"patterns": patterns, "lines": lines}
_PARTS: dict[str, list[dict[str, Any]]] = {  # of a data set: the arguments of each part that is used
    **{name: [{"train": True}] for name in ("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100")},
    "EMNIST": [{"split": "balanced", "train": True}],
    "SVHN": [{"split": "train"}],
    "STL10": [{"split": "train+unlabeled"}],
    "Flowers102": [{"split": "train"}, {"split": "val"}, {"split": "test"}],  # train alone has 1,020 pictures
    "CelebA": [{"split": "train"}],
}
Opener = Callable[[str, PictureSpec, Path], PictureSource]  # of a name, and a folder for downloads
SOURCES: dict[str, Opener] = {
    **{name: partial(open_procedural, family) for name, family in PROCEDURAL.items()},
    **{name: partial(open_torchvision_set, parts) for name, parts in _PARTS.items()},
}


def open_source(source: str, spec: PictureSpec, downloads: Path) -> PictureSource:
    """The source with a name from `normalize_source`, whose files are, or go, into `downloads`.

    Raises `UserError` if it has no pictures, or none that can be fetched.
    """
    check_source(source)
    return SOURCES[source](source, spec, downloads) if source in SOURCES else open_folder(Path(source), spec)


def check_source(source: str) -> None:
    """Raises `UserError` if a name from `normalize_source` is that of no data set and no folder."""
    path = Path(source)
    if source in SOURCES or path.is_dir():
        return
    if path.exists():
        raise UserError(f"{path}: is no folder; --data.source takes the one that it is in")
    near = closest_match(path.name, SOURCES)
    usual = f"--data.source takes a folder, {', '.join(PROCEDURAL)} or a data set's name"
    remedy = f"did you mean {near}?" if near else suggest_file(path, usual)
    raise UserError(f"{path}: no such folder or data set; {remedy}")


def normalize_source(source: str) -> str:
    """The one spelling of a source: a name as it is, a folder as its absolute path.

    Raises `UserError` if no folder can have that name, or it is not UTF-8.
    """
    if source in SOURCES:
        return source
    try:
        path = os.path.realpath(user_path(source))
    except (ValueError, RecursionError):
        raise UserError(f"{source}: no name that a folder can have; name another one") from None
    check_utf8(path)
    return path


def source_folder(source: object) -> Path | None:
    """The folder that a source from `normalize_source`, or from any checkpoint, names; None if it names none."""
    return Path(source) if isinstance(source, str) and Path(source).is_absolute() else None


def source_name(source: str) -> str:
    """The name of runs on a source: `patterns`, `MNIST`, or the last part of a folder's path."""
    return Path(normalize_source(source)).name or "images"
