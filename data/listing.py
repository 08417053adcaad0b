"""What is in a folder of anyone's pictures: files that may be pictures, and what cannot be looked into."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from data.errors import UserError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})

State = tuple[int, int, int]


class Found(NamedTuple):
    """Something in a folder that should be a picture, or hold some.

    Attributes:
        path: where it is.
        state: what changes when the file does; None if it is none that could be opened.
        fault: why it could not, in one line.
    """

    path: Path
    state: State | None
    fault: str = ""


def state_of(status: os.stat_result) -> State:
    """What changes when a file's content does, or who may read it: its time in nanoseconds, its size and its mode."""
    return status.st_mtime_ns, status.st_size, status.st_mode


def find_pictures(root: Path) -> list[Found]:
    """The picture files below a folder, by their suffix, in the order of their names.

    Hidden files and second names of a file are left out. Links that lead nowhere or in circles, folders that cannot be
    listed, and pipes and devices that are named like pictures are found, with their fault, and never opened.

    Raises:
        UserError: no picture in it.
    """
    found: dict[str, Found] = {}
    entered: set[str] = set()
    waiting = [(root, os.path.realpath(root))]
    while waiting:  # no recursion: folders may be nested a thousand deep
        here, place = waiting.pop()
        if place in entered:  # a link that leads back up
            continue
        entered.add(place)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            found[place] = Found(here, None, f"{here}: cannot be listed ({error.strerror or error})")
            continue
        folders: list[tuple[Path, str]] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path, name, linked = here / entry.name, f"{place}/{entry.name}", entry.is_symlink()
            if _is_folder(entry):
                folders.append((path, os.path.realpath(path) if linked else name))
            elif _is_named_like_a_picture(entry):
                one = _look_at(path, linked)
                found.setdefault(os.path.realpath(path) if linked and one.state is not None else name, one)
        waiting += reversed(folders)
    if not found:
        raise UserError(f"{root}: holds no picture, nor do folders in it; name one with {' '.join(sorted(SUFFIXES))}")
    return list(found.values())


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in circles
        return False


def _is_named_like_a_picture(entry: os.DirEntry[str]) -> bool:
    """Or like a folder of pictures to which a link leads no longer."""
    suffix = Path(entry.name).suffix.lower()
    return suffix in SUFFIXES or (not suffix and entry.is_symlink() and not os.access(entry.path, os.F_OK))


def _look_at(path: Path, linked: bool) -> Found:
    try:
        status = path.stat()
    except OSError as error:
        reason = "a link that leads nowhere" if linked else "cannot be looked at"
        return Found(path, None, f"{path}: {reason} ({error.strerror or error})")
    if not stat.S_ISREG(status.st_mode):
        return Found(path, None, f"{path}: not a file but a pipe or a device")
    return Found(path, state_of(status))
