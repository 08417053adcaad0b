"""A folder of anyone's pictures, flat or nested, whatever else is in it."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.errors import UserError
from data.pixels import read
from data.source import Picture, Source, Wish

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})


def find_pictures(root: Path) -> list[Path]:
    """The picture files below a folder, by their suffix, sorted; hidden files and second names of a file left out.

    Raises:
        UserError: no such folder, or no picture in it.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; --data.source takes a folder, patterns, lines or a data set's name")
    found: dict[Path, Path] = {}
    entered: set[Path] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        here = Path(place)
        known = here.resolve() in entered  # a link that leads back up
        entered.add(here.resolve())
        folders[:] = [] if known else sorted(name for name in folders if not name.startswith("."))
        for path in (here / name for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                found.setdefault(path.resolve(), path)
    if not found:
        raise UserError(f"{root}: holds no picture; looked for {' '.join(sorted(SUFFIXES))} in it and below")
    return list(found.values())


def folder(root: Path, wish: Wish) -> Source:
    """The pictures below a folder, decoded on all cores, in the order of their names.

    Raises:
        UserError: no such folder, or no picture in it.
    """
    files = find_pictures(root)
    files = [files[index] for index in wish.subset(len(files))]
    skipped: dict[str, str] = {}

    def attempt(file: Path) -> Picture | None:
        try:
            return read(file, wish.size, wish.channels, wish.background)
        except UserError as error:
            skipped[str(file)] = str(error)
            return None

    def pictures() -> Iterator[Picture | None]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            yield from pool.map(attempt, files)

    stats = [(str(file.relative_to(root)), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    recipe = {"root": str(root.resolve()), "files": stats, "background": wish.background}
    return Source(recipe, len(files), pictures, skipped)
