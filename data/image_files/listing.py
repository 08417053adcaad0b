"""The contents of a folder: files that should be pictures, and all others."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from data.image_files.formats import FORMATS, HEIF_REMEDY, NAMES, RAW, format_of, heif_version
from data.system.errors import UserError

_SHOWN_KINDS = 8
_LONGEST_KIND = 12

State = tuple[int, int, int]


class Listing(NamedTuple):
    """The contents of a folder."""

    pictures: dict[str, State | None]  # paths of files that should be pictures, in the order of names → their state
    others: Counter[str]  # how many other files there are, by their kind

    def left_out(self) -> str:
        """The other files in a line, the most frequent first; empty if there are none."""
        named = dict(self.others.most_common(_SHOWN_KINDS))
        heif = f" ({HEIF_REMEDY} reads them)"
        shown = [f"{count:,} {kind}{heif if FORMATS.get(kind) == 'HEIF' else ''}" for kind, count in named.items()]
        if unnamed := self.others.total() - sum(named.values()):
            shown.append(f"{unnamed:,} of other kinds")
        return f"Left out: {', '.join(shown)}" if shown else ""


def file_state(path: str) -> State | None:
    """A file's time in nanoseconds, its size and its mode, which change when its content does, or who may read it.

    None where it cannot be looked at.
    """
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_mode


def find_pictures(root: Path) -> Listing:
    """The picture files below a folder, by their suffix, or by their first bytes where that says nothing.

    Hidden files, folders that were seen already and second names of a file are left out. Nothing is opened that is
    named like a picture: it may be a pipe. Raises `UserError` if there is no picture.
    """
    pictures: dict[str, str] = {}  # its place without links → its path
    others: Counter[str] = Counter()
    entered: set[str] = set()
    waiting = [(str(root), os.path.realpath(root))]
    while waiting:  # os.walk fails on folders that are nested a thousand deep
        here, place = waiting.pop()
        if place in entered:  # a link that leads back up
            continue
        entered.add(place)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            others["unreadable folder"] += 1
            continue
        folders = []
        for entry in entries:
            path = entry.path
            if entry.name.startswith("."):
                continue
            if is_folder(entry):
                folders.append((path, _place(entry, place)))
            elif _is_picture(entry):
                pictures.setdefault(path if (found := _place(entry, place)) == path else found, path)
            else:
                others[_kind(Path(entry.name).suffix)] += 1
        waiting += reversed(folders)
    listing = Listing({path: file_state(path) for path in pictures.values()}, others)
    if not pictures:
        left_out = f" ({listing.left_out().lower()})" if others else ""
        raise UserError(f"{root}: holds no picture, nor do folders in it{left_out}; name one with {NAMES}")
    return listing


def is_folder(entry: os.DirEntry[str]) -> bool:
    """True for a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link in circles
        return False


def _place(entry: os.DirEntry[str], folder: str) -> str:
    """The place of a file without links; that of the link itself where it leads nowhere."""
    linked = entry.is_symlink() and Path(entry.path).exists()
    return os.path.realpath(entry.path) if linked else f"{folder}/{entry.name}"


def _is_picture(entry: os.DirEntry[str]) -> bool:
    suffix = Path(entry.name).suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix] != "HEIF" or heif_version() is not None
    try:
        return suffix not in RAW and entry.is_file() and format_of(Path(entry.path)) is not None
    except OSError:  # it may not be read
        return False


def _kind(suffix: str) -> str:
    return suffix.lower() if 1 < len(suffix) <= _LONGEST_KIND else "without a known suffix"
