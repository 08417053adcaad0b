"""Classes of pictures: the subfolders of a folder, by their names."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from data.image_files.listing import is_folder
from data.system.errors import UserError

Labels = Literal["folders"]
_MOST, _LONGEST = 1000, 255
_SHOWN = 10


def check_class_names(names: Any) -> tuple[str, ...]:
    """The names as they are: none, or 2 to 1,000 different ones, printable and of 1 to 255 letters each.

    Raises `UserError` for others.
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UserError("classes: must be a list of names")
    if len(names) == 1 or len(names) > _MOST:
        raise UserError(f"classes: there are {len(names)}; a model has 2 to {_MOST}, or none")
    for name in names:
        if not 0 < len(name) <= _LONGEST or not name.isprintable():
            raise UserError(
                f"class {name[:_LONGEST]!a}: must have a printable name of 1 to {_LONGEST} letters; rename it"
            )
    if len(set(names)) < len(names):
        raise UserError("classes: two have the same name; rename one")
    return tuple(names)


def check_labels(labels: Labels | None, source: str) -> None:
    """Raises `UserError` for a word that names no labels, or unless the source may have subfolders."""
    if labels not in (None, "folders"):
        raise UserError(f"labels {str(labels)[:50]!r}: must be folders or null")
    if labels and not Path(source).is_absolute():
        raise UserError(
            f"--data.labels folders: {source} has no subfolders; name a folder of pictures, or leave it out"
        )


def class_folders(root: Path) -> tuple[str, ...]:
    """The classes of the pictures in a folder: its subfolders, but for hidden ones, in the order of names.

    None where there is no such folder. Raises `UserError` if it has fewer than two, or one whose name will not do.
    """
    if not root.is_dir():
        return ()
    names = sorted(entry.name for entry in os.scandir(root) if not entry.name.startswith(".") and is_folder(entry))
    if len(names) < 2:
        found = f"one subfolder, {names[0]}" if names else "no subfolders"
        raise UserError(f"--data.labels folders: {root} has {found}; give each class one, or leave --data.labels out")
    return check_class_names(names)


def class_folder(path: str, root: str) -> str:
    """The class of a file below a folder; empty if it is in none of the subfolders.

    >>> class_folder("/pets/cat/old/1.png", "/pets"), class_folder("/pets/1.png", "/pets")
    ('cat', '')
    """
    first, inside, _ = path.removeprefix(root).lstrip("/").partition("/")
    return first if inside else ""


def picture_classes(counts: Mapping[str, int], classes: Sequence[str]) -> Tensor:
    """The number of each picture's class, (N,) in the order of the pictures; −1 where it has none.

    >>> picture_classes({"": 1, "cat": 2, "dog": 1}, ["cat", "dog"])
    tensor([-1,  0,  0,  1])

    Args:
        counts: how many pictures each folder has, which come folder by folder in this order.
        classes: the names of those that are classes.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    return torch.tensor([numbers.get(name, -1) for name in counts]).repeat_interleave(torch.tensor([*counts.values()]))


def check_all_found(found: Tensor, classes: Sequence[str], source: str) -> None:
    """Raises `UserError` unless each class is that of a training picture, by the numbers (N,) of these."""
    if missing := set(range(len(classes))) - set(found.tolist()):
        name = classes[min(missing)]
        raise UserError(f"{source}: no picture of class {name} is left to train on; add some there, or remove {name}")


def describe_classes(counts: Mapping[str, int]) -> str:
    """A line on how many pictures each class has, and how many have none; empty if there are no classes.

    >>> describe_classes({"": 3, "cat": 1200, "dog": 7})
    'Classes: cat 1,200, dog 7; 3 pictures beside the subfolders have none'
    """
    known = [f"{name} {count:,}" for name, count in counts.items() if name]
    more = f", {len(known) - _SHOWN:,} more" if len(known) > _SHOWN else ""
    beside = f"; {counts['']:,} pictures beside the subfolders have none" if counts.get("") else ""
    return f"Classes: {', '.join(known[:_SHOWN])}{more}{beside}" if known else ""
