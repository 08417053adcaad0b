"""What `--data.source` names: a procedural family, a data set of torchvision, or else a folder."""

import os
from pathlib import Path

from data import torchvision_sets as catalog
from data.image_files.folder import folder
from data.source import PictureSpec, Source
from data.synthetic.families import FAMILIES, procedural
from data.system.errors import UserError
from data.system.files import check_utf8, user_path
from data.system.spelling import nearest, neighbour


def open_source(source: str, wish: PictureSpec, downloads: Path) -> Source:
    """A source by its name.

    Args:
        source: from `full_source`.
        wish: what is asked of it.
        downloads: the folder where data sets' files are, or go.

    Raises:
        UserError: it has no pictures, or none that can be fetched.
    """
    if source in FAMILIES:
        return procedural(source, wish)
    if source in catalog.NAMES:
        return catalog.torchvision_source(source, downloads, wish)
    path = Path(source)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is no folder; --data.source takes the one that it is in")
    if not path.exists():
        near = nearest(path.name, (*FAMILIES, *catalog.NAMES))
        usual = "--data.source takes a folder, patterns, lines or a data set's name"
        remedy = f"did you mean {near}?" if near else neighbour(path, usual)
        raise UserError(f"{path}: no such folder or data set; {remedy}")
    return folder(path, wish)


def full_source(source: str) -> str:
    """A source's one spelling: a name as it is, a folder as its absolute path.

    Raises:
        UserError: no folder can be called so, or no log can tell of it.
    """
    if source in FAMILIES or source in catalog.NAMES:
        return source
    try:
        path = os.path.realpath(user_path(source))
    except (ValueError, RecursionError):
        raise UserError(f"{source}: no name that a folder can have; name another one") from None
    check_utf8(path)
    return path


def folder_of(source: object) -> Path | None:
    """The folder that a source from `full_source`, or from anyone's checkpoint, names; None if it names none."""
    return Path(source) if isinstance(source, str) and Path(source).is_absolute() else None


def source_name(source: str) -> str:
    """What runs on a source are filed under: `patterns`, `MNIST`, or the last part of a folder's path."""
    return Path(full_source(source)).name or "images"
