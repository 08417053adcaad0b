"""The contents of a folder: files that may be pictures, those that cannot be opened, and all others."""

import os
import stat
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from data.image_files.formats import FORMATS, HEIF_REMEDY, NAMES, OTHERS, format_of, heif_version
from data.system.errors import UserError

_SHOWN_KINDS = 8
_LONGEST_KIND = 12

State = tuple[int, int, int]


class ListedFile(NamedTuple):
    """A file or folder that should be a picture, or hold some.

    Attributes:
        path: where it is.
        state: see `file_state`; None if it cannot be opened.
        fault: why it cannot, in one line.
    """

    path: Path
    state: State | None
    fault: str = ""


class Listing(NamedTuple):
    """The contents of a folder.

    Attributes:
        pictures: files that should be pictures, in the order of their names.
        others: how many other files there are, by their suffix.
    """

    pictures: list[ListedFile]
    others: Counter[str]

    def left_out(self) -> str:
        """The other files in a line, the most frequent first; empty if there are none."""
        named = self.others.most_common(_SHOWN_KINDS)
        shown = [f"{count:,} {kind}{_remedy(kind)}" for kind, count in named]
        if unnamed := self.others.total() - sum(count for _, count in named):
            shown.append(f"{unnamed:,} of other kinds")
        return f"Left out: {', '.join(shown)}" if shown else ""


def file_state(status: os.stat_result) -> State:
    """A file's time in nanoseconds, its size and its mode, which change when its content does, or who may read it."""
    return status.st_mtime_ns, status.st_size, status.st_mode


def find_pictures(root: Path) -> Listing:
    """The picture files below a folder, by their suffix, or by their first bytes where that says nothing.

    Hidden files and second names of a file are left out. Links that lead nowhere or in circles, folders that cannot be
    listed, and pipes and devices that are named like pictures are found, with their fault, and never opened.

    Raises:
        UserError: no picture in it.
    """
    found: dict[str, ListedFile] = {}
    others: Counter[str] = Counter()
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
            found[place] = ListedFile(here, None, f"{here}: cannot be listed ({error.strerror or error})")
            continue
        folders: list[tuple[Path, str]] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path, name, linked = here / entry.name, f"{place}/{entry.name}", entry.is_symlink()
            if _is_folder(entry):
                folders.append((path, os.path.realpath(path) if linked else name))
            elif _is_picture(entry):
                file = _listed(path, linked)
                found.setdefault(os.path.realpath(path) if linked and file.state is not None else name, file)
            else:
                others[_kind(path.suffix)] += 1
        waiting += reversed(folders)
    listing = Listing(list(found.values()), others)
    if not found:
        left_out = f" ({listing.left_out().lower()})" if others else ""
        raise UserError(f"{root}: holds no picture, nor do folders in it{left_out}; name one with {NAMES}")
    return listing


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in circles
        return False


def _is_picture(entry: os.DirEntry[str]) -> bool:
    """True for pictures by name or content, and for links without a suffix that lead nowhere, perhaps to a folder."""
    suffix = Path(entry.name).suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix] != "HEIF" or heif_version() is not None
    if suffix in OTHERS:
        return False
    if not suffix and entry.is_symlink() and not os.access(entry.path, os.F_OK):
        return True
    try:
        return entry.is_file() and format_of(Path(entry.path)) is not None
    except OSError:  # it may not be read
        return False


def _kind(suffix: str) -> str:
    return suffix.lower() if 1 < len(suffix) <= _LONGEST_KIND else "without a known suffix"


def _remedy(kind: str) -> str:
    return f" ({HEIF_REMEDY})" if FORMATS.get(kind) == "HEIF" else ""


def _listed(path: Path, linked: bool) -> ListedFile:
    try:
        status = path.stat()
    except OSError as error:
        reason = "a link that leads nowhere" if linked else "cannot be looked at"
        return ListedFile(path, None, f"{path}: {reason} ({error.strerror or error})")
    if not stat.S_ISREG(status.st_mode):
        return ListedFile(path, None, f"{path}: not a file but a pipe or a device")
    return ListedFile(path, file_state(status))
