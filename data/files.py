"""Files that are whole or not there: written beside their target, synced, moved into place."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from data.errors import UserError

_LEGIBLE = 40  # letters of a temporary name, which may not be much longer than the name that it stands for


def user_path(name: str) -> Path:
    """A path as users write it, where ~ is their folder. Raises `UserError` if there is no such user."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: no such user; write ./{name} if the name begins with ~") from None


def check_places(*paths: Path) -> None:
    """Raises `UserError` unless all files could be written, none in the place of another."""
    for path in paths:
        with writing(path):
            if path.exists() and not path.is_file():
                raise UserError(f"{path}: is a folder or no plain file; name a file")
            nearest = next(parent for parent in path.absolute().parents if parent.exists())
            if not nearest.is_dir():
                raise UserError(f"{path}: cannot be written, {nearest} is a file")
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise UserError(f"{path}: cannot be written, {nearest} is not yours to write to")
    places = [path.absolute() for path in paths]
    for place in places:
        if sum(place == other or place in other.parents for other in places) > 1:
            raise UserError(f"{place}: is asked for twice; give each result a name of its own")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells of a place that cannot be written to in one line, as a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which takes its place when it is done; a crash leaves what was there before.

    Raises:
        UserError: the place cannot be written to.
    """
    with writing(path):
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_LEGIBLE]}-")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def save(content: bytes, path: Path) -> None:
    """Writes bytes to a file; a crash leaves what was there before, or all of the new content.

    Raises:
        UserError: the place cannot be written to.
    """
    with replacing(path) as file:
        file.write(content)


def swap(new: Path, path: Path) -> None:
    """Moves a folder into place; what was there before stays until the new one is, and is then removed.

    Raises:
        OSError: the new folder cannot be moved; the old one is back in its place.
    """
    path = path.resolve()
    if not path.exists():
        new.rename(path)
        return
    old = path.with_name(f".{path.name[:_LEGIBLE]}-{os.getpid()}-old")
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old)


def umask() -> int:
    """The permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
