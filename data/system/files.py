"""Files that are whole or not there: written beside their target, synced, moved into place."""

import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from data.system.errors import StorageError, UserError, describe_oserror

_LEGIBLE = 40  # letters of a temporary name, which may not be much longer than the name that it stands for


def user_path(name: str) -> Path:
    """A path as users write it, where ~ is their folder. Raises `UserError` unless it can be one."""
    if not name or re.match(r"[a-z]+://", name):
        raise UserError(f"{name or repr(name)}: no place on this machine; name a file")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: no such user; write ./{name} if the name begins with ~") from None


def check_utf8(path: str) -> None:
    """Raises `UserError` unless a path is UTF-8, as configs and logs have to be."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: a name that is not UTF-8 cannot be kept in configs and logs; rename it") from None


def check_regular_file(path: Path) -> None:
    """Raises `UserError` if opening it could wait for ever: a pipe, a socket, a device. What is not there passes."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is a folder or no plain file; name a file")


def resolved(path: Path) -> Path:
    """The absolute path without links; where they lead in circles, `Path.resolve` would raise."""
    return Path(os.path.realpath(path))


def check_writable(*paths: Path) -> None:
    """Raises `UserError` unless all files could be written, none in the place of another."""
    for path in paths:
        with storage_errors(path):
            check_regular_file(path)
            nearest = next(parent for parent in path.absolute().parents if parent.exists())
            if not nearest.is_dir():
                raise UserError(f"{path}: cannot be written, {nearest} is a file; choose another place")
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise UserError(f"{path}: cannot be written, {nearest} is read-only or not yours; choose another place")
    places = [path.absolute() for path in paths]
    for place in places:
        if sum(place == other or place in other.parents for other in places) > 1:
            raise UserError(f"{place}: is asked for twice; give each result a name of its own")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns an `OSError` into a `StorageError` that says in one line why the place cannot be written to."""
    try:
        yield
    except OSError as error:
        fault = OSError(error.errno, f"cannot be written ({error.strerror or error})", str(path))
        raise StorageError(describe_oserror(fault, "choose another place")) from None


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """A free name beside a file or folder, for what will be moved there; what still has it at the end is removed.

    So are the folders around it that had to be made, if nothing came into them.
    """
    temporary = path.with_name(f".{path.name[:_LEGIBLE]}-{uuid.uuid4().hex}")
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for remove in (temporary.unlink, *(folder.rmdir for folder in missing)):
            with suppress(OSError):  # there is none, or something in it, or the place has become read-only
                remove()


def remove_temporary_files(path: Path) -> None:
    """Removes what writes of this file that were killed have left beside it."""
    with suppress(OSError):
        for orphan in path.parent.glob(f".{glob.escape(path.name[:_LEGIBLE])}-*"):
            orphan.unlink()


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """A file to write into and to read from, which takes its place when it is done; a crash leaves what was there.

    Raises `StorageError` if the place cannot be written to.
    """
    with storage_errors(path):
        path = resolved(path)
        with temporary_path(path) as temporary:
            with temporary.open("x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)


def save_bytes(content: bytes, path: Path) -> None:
    """Writes bytes to a file as `atomic_writer` does."""
    with atomic_writer(path) as file:
        file.write(content)


def replace_folder(new: Path, path: Path) -> None:
    """Moves a folder into place; what was there before stays until the new one is, and is then removed.

    Raises `OSError` if it cannot be moved; the old one is then back.
    """
    path = resolved(path)
    with temporary_path(path) as old:
        try:
            if path.exists():
                path.rename(old)
            new.rename(path)
        finally:
            if old.exists() and not path.exists():
                old.rename(path)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """A folder that is there, with those around it; in the end those that had to be made go, and itself, if empty."""
    missing = [folder, *(parent for parent in folder.parents if not parent.exists())]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    finally:
        for made in missing:
            with suppress(OSError):
                made.rmdir()


def remove_folder(folder: Path) -> None:
    """Removes a folder, all at once for other processes."""
    with suppress(OSError), temporary_path(folder) as temporary:
        folder.rename(temporary)
