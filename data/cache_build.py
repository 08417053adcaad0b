"""Building a cache, in parts that all processes and machines which want it make together, and which outlast a crash.

    .<key>-<origin>/findings-3.json     what a survey found in the items of part 3
    .<key>-<origin>/3/                  the pictures of these items, a cache of its own
    .<key>-<origin>/whole/              the pictures of all parts, moved there one part after another

Each part is written under a temporary name and moved into place, so that a half-written one is never found. The bytes
depend on the items alone, neither on who made which part nor on when. What is whole is moved to <key>.
"""

import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from data.cache import (
    IMAGES,
    INDEX,
    PictureCache,
    cache_folder,
    load_cache,
    move_cache,
    read_index,
    read_json,
    write_json,
)
from data.picture_source import PictureReport, PictureSource
from data.system.bars import Bar
from data.system.errors import UserError, escape_unprintable
from data.system.files import made_folder, remove_folder, temporary_path
from data.system.shared_work import do_together, in_use

ITEMS = 4096  # of a part: seconds of work, which a crash loses
_KEPT = 7 * 86_400  # seconds, after which nobody goes on with a build that was stopped
_UNFINISHED = re.compile(r"\.{1,2}[0-9a-f]{32}-[0-9a-f]+(-[0-9a-f]+)?")  # two points if it is being removed
_BLOCK = 1 << 20
_TRIES = 3
_T = TypeVar("_T")


def build_cache(
    folder: Path, source: PictureSource, title: str, shape: tuple[int, ...], show: bool = True
) -> PictureCache:
    """Makes a source's pictures and caches them in a folder from `cache_folder`; `show` a progress bar of that title.

    It goes on where a build of this cache was stopped, and shares the work with those that run at the same time. Files
    that have changed since the recipe was made are left out; the cache then goes to another folder, so that it is
    built again next time. Raises `UserError` if all pictures are broken, or the folder cannot be written to.
    """
    origin = json.dumps([{key: value for key, value in source.recipe.items() if key != "files"}, shape])
    parts = folder.with_name(f".{folder.name}-{hashlib.sha256(origin.encode()).hexdigest()[:8]}")
    try:
        with closing(source):
            for _ in range(_TRIES):
                with made_folder(parts), suppress(FileNotFoundError):
                    _remove_useless(parts)
                    if found := _Build(folder, parts, source, title, shape, show).run():
                        remove_folder(parts)
                        return found
                if found := load_cache(folder, shape):  # another process has finished it, and removed the parts
                    return found
        raise OSError("other processes remove what this one makes")
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or set --data.cache_dir"
        ) from None


class _Build:
    """What one process does of a build, see `build_cache`."""

    def __init__(
        self, folder: Path, parts: Path, source: PictureSource, title: str, shape: tuple[int, ...], show: bool
    ) -> None:
        self.folder, self.parts, self.source, self.title, self.shape = folder, parts, source, title, shape
        self.show = show
        self.items = [range(start, min(start + ITEMS, source.count)) for start in range(0, source.count, ITEMS)]

    def run(self) -> PictureCache | None:
        """The cache; None if another process is done with it, and has removed the parts."""
        total, report = self.source.count, PictureReport()
        if self.source.survey is not None:
            self._together("Looking into files", " files", total, self._looked, self._look)
            findings = self._read_all(self._findings)
            if findings is None:
                return None
            for found in findings:
                report.changed += found["changed"]
            total = self.source.survey.plan(report, [finding for found in findings for finding in found["findings"]])
        self._together(f"Preparing {escape_unprintable(self.title)}", " images", total, self._tried, self._make)
        indexes = self._read_all(lambda part: self.parts / str(part) / INDEX)
        if indexes is None:
            return None
        for index in indexes:
            report.skipped |= index["skipped"]
            report.changed += index["changed"]
            report.runs += index["runs"]
            for name, count in index.get("classes", {}).items():
                report.classes[name] = report.classes.get(name, 0) + count
        return self._join([index["shape"][0] for index in indexes], report)

    def _together(
        self,
        description: str,
        unit: str,
        total: int,
        finished: Callable[[int], int | None],
        do: Callable[[int, Bar], None],
    ) -> None:
        """Work on all parts, with a progress bar, unless the cache is there."""

        def finished_or_useless(part: int) -> int | None:
            amount = finished(part)
            return 0 if amount is None and load_cache(self.folder, self.shape) else amount

        with Bar(desc=description, unit=unit, total=total, disable=not self.show) as bar:
            do_together(self.parts, unit.strip(), len(self.items), finished_or_useless, do, bar)

    def _read_all(self, path: Callable[[int], Path]) -> list[dict[str, Any]] | None:
        """A file of each part; None if another process has removed one."""
        found = [content for part in range(len(self.items)) if (content := read_json(path(part))) is not None]
        return found if len(found) == len(self.items) else None

    def _findings(self, part: int) -> Path:
        return self.parts / f"findings-{part}.json"

    def _looked(self, part: int) -> int | None:
        found, count = read_json(self._findings(part)), len(self.items[part])
        return count if found and len(found.get("findings", ())) == count else None

    def _look(self, part: int, bar: Bar) -> None:
        assert self.source.survey is not None
        report, path = PictureReport(), self._findings(part)
        findings = []
        for found in _with_user_errors(self.source.survey.look(report, self.items[part]), self.title):
            findings.append(found)
            bar.update()
        with temporary_path(path) as temporary:
            write_json(temporary, {"findings": findings, "changed": report.changed})
            temporary.replace(path)

    def _tried(self, part: int) -> int | None:
        """How many pictures were tried for a part; None if it has not been made."""
        folder = self.parts / str(part)
        index = read_index(folder, self.shape)
        if index is None and not (folder / IMAGES).exists() and (self.parts / "whole" / IMAGES).exists():
            index = read_json(folder / INDEX)  # its pictures are in the whole
        return None if index is None else index.get("tried")

    def _make(self, part: int, bar: Bar) -> None:
        report = PictureReport()
        folder = self.parts / str(part)
        tried = count = 0
        with temporary_path(folder) as temporary:
            temporary.mkdir(mode=0o700)
            with (temporary / IMAGES).open("wb") as file:
                for picture in _with_user_errors(self.source.pictures(report, self.items[part]), self.title):
                    tried += 1
                    if picture is not None:
                        file.write(np.ascontiguousarray(picture).data)
                        count += 1
                    bar.update()
                file.flush()
                os.fsync(file.fileno())
            write_json(temporary / INDEX, {"shape": [count, *self.shape], "tried": tried, **asdict(report)})
            move_cache(temporary, folder, self.shape)

    def _join(self, counts: list[int], report: PictureReport) -> PictureCache | None:
        """Puts the pictures of all parts, so many of each, into one file; raises `UserError` if there are none."""
        if not sum(counts):
            first = next(iter(report.skipped.values()), "nothing was tried")
            remove_folder(self.parts)
            raise UserError(f"{self.title}: none of {len(report.skipped)} pictures could be read; first: {first}")
        folder, changed = self.folder, list(dict.fromkeys(report.changed))
        if changed:
            folder = cache_folder(folder.parent, {"instead_of": folder.name, "changed": changed})

        def finished(_: int) -> int | None:
            return None if load_cache(folder, self.shape) is None else len(counts)

        def join(_: int, bar: Bar) -> None:
            whole = self.parts / "whole"
            whole.mkdir(mode=0o700, exist_ok=True)
            end = 0
            (whole / IMAGES).touch(0o600)
            with (whole / IMAGES).open("r+b") as joined:  # a process that stood still may write the same bytes again
                for part, count in enumerate(counts):
                    start, end = end, end + count * math.prod(self.shape)
                    path = self.parts / str(part) / IMAGES
                    if os.fstat(joined.fileno()).st_size < end:
                        joined.seek(start)  # in a crash, some of it may have been written
                        with path.open("rb") as images:
                            shutil.copyfileobj(images, joined, _BLOCK)
                        joined.flush()
                        os.fsync(joined.fileno())
                    path.unlink(missing_ok=True)  # there may not be room for everything twice
                    bar.update()
            notes = {"skipped": report.skipped, "remarks": report.remarks, "runs": report.runs}
            notes |= {"classes": report.classes} if report.classes else {}
            write_json(whole / INDEX, {"shape": [sum(counts), *self.shape], **notes})
            move_cache(whole, folder, self.shape)

        with Bar(desc="Joining", unit=" parts", total=len(counts), disable=not self.show) as bar:
            do_together(self.parts, "whole", 1, finished, join, bar)
        return load_cache(folder, self.shape)


def _with_user_errors(made: Iterator[_T], title: str) -> Iterator[_T]:
    """What a source makes; its `OSError`s become `UserError`s, for they are not the cache's."""
    try:
        yield from made
    except OSError as error:
        raise UserError(f"{title}: cannot be read ({error.strerror or error}); is it still there?") from None


def _remove_useless(parts: Path) -> None:
    """Removes what builds have left with which none goes on: old ones, and those of this source before it changed.

    Files that had changed when they were read may be as in the recipe again: parts without them are not kept.
    """
    _, _, origin = parts.name.rpartition("-")
    for folder in filter(lambda path: _UNFINISHED.fullmatch(path.name), parts.parent.iterdir()):
        with suppress(OSError):
            if folder == parts:
                useless = any(map(_has_changes, (*folder.glob("findings-*.json"), *folder.glob(f"*/{INDEX}"))))
            else:
                useless = folder.name.endswith(f"-{origin}") or time.time() - folder.stat().st_mtime > _KEPT
            if useless and not in_use(folder):
                remove_folder(folder)


def _has_changes(path: Path) -> bool:
    return bool((read_json(path) or {}).get("changed"))
