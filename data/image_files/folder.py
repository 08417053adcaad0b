"""A folder of picture files as a source: they are probed, decoded, and those that cannot be are reported."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from data.image_files.classes import class_folder
from data.image_files.decode_pool import DecodePool, Part
from data.image_files.formats import heif_version
from data.image_files.levels import FLOATS, INTEGERS, white_level
from data.image_files.listing import State, file_state, find_pictures
from data.image_files.reader import Probe
from data.picture_source import PictureReport, Pictures, PictureSource, PictureSpec, Survey

_ORDINARY = Probe(1, False, {})


def open_folder(root: Path, spec: PictureSpec) -> PictureSource:
    """The pictures below a folder, in the order of their names; the items are files. Raises `UserError` if it has none.

    A file that has changed since the folder was listed is skipped, as a broken one is, and noted in
    `PictureReport.changed`.
    """
    listing = find_pictures(root)
    files = list(listing.pictures.items())
    if not spec.all_frames:
        files = [files[index] for index in spec.subset(len(files))]
    recipe = {
        "root": os.path.realpath(root),
        "files": _digest(root, files),
        "background": spec.background,
        "white": spec.white,
        "frames": (spec.limit, spec.seed) if spec.all_frames else None,
        "pillow": PIL.__version__,
        "heif": heif_version(),
    }
    if spec.labels:
        recipe["labels"] = spec.labels
    pictures = FolderPictures(str(root), files, spec)
    survey = Survey(pictures.look, pictures.plan)
    return PictureSource(recipe, len(files), pictures.make, survey, pictures.close, listing.left_out())


def _digest(root: Path, files: Iterable[tuple[str, State | None]]) -> str:
    """Hash of the names and states of files: of ten million, their text would take gigabytes."""
    digest = hashlib.sha256()
    for path, state in files:
        digest.update(json.dumps([path.removeprefix(str(root)), state]).encode())
    return digest.hexdigest()


class FolderPictures:
    """The pictures of files, made by processes that start when they are needed.

    Args:
        root: the folder that they are in.
        files: path and state of each, in order.
        spec: how the pictures are to be.
    """

    def __init__(self, root: str, files: Sequence[tuple[str, State | None]], spec: PictureSpec) -> None:
        self._root, self._files, self._spec = root, files, spec
        self._pool = DecodePool()
        self._faults: dict[int, str] = {}  # files of which nothing is decoded
        self._starts = np.zeros(1, np.int64)  # how many pictures there are before each file, and in all
        self._chosen: NDArray[np.int64] | None = None  # which of these pictures are made, None if all
        self._white: dict[str, float] = {}

    def close(self) -> None:
        self._pool.close()

    def look(self, report: PictureReport, items: range) -> Iterator[Any]:
        """The `Probe` of each file, None if it is one ordinary picture, or why it cannot be decoded."""
        paths = [Path(self._files[item][0]) for item in items]
        probes = self._pool.probe(paths, self._spec.all_frames, self._spec.white is None)
        for item, probe in zip(items, probes, strict=True):
            if isinstance(probe, str):
                yield self._fault(report, item, probe)
            else:
                yield None if probe == _ORDINARY else probe

    def plan(self, report: PictureReport, findings: list[Any]) -> int:
        """Takes what `look` found in all files: which pictures there are, which level is white."""
        special = {item: found for item, found in enumerate(findings) if found is not None}
        self._faults = {item: found for item, found in special.items() if isinstance(found, str)}
        probes = {item: Probe(*found) for item, found in special.items() if item not in self._faults}
        counts = np.ones(len(findings), np.int64)
        counts[list(self._faults)] = 0
        counts[list(probes)] = [probe.pictures for probe in probes.values()]
        self._starts = np.concatenate([[0], counts.cumsum()])
        total = int(self._starts[-1])
        if self._spec.all_frames and self._spec.limit is not None:
            self._chosen = np.asarray(self._spec.subset(total), np.int64)
        white = self._spec.white
        self._white = dict.fromkeys((INTEGERS, FLOATS), white) if white else self._white_levels(probes, report)
        if more := sum(probe.more for probe in probes.values()):
            report.remarks.append(
                f"{_files(more)} {'holds' if more == 1 else 'hold'} more than one picture, "
                "of which the first is taken; --data.all_frames true takes all"
            )
        return total if self._chosen is None else len(self._chosen)

    def make(self, report: PictureReport, items: range) -> Pictures:
        """The pictures of some files; broken ones are None."""
        for item in items:
            if item in self._faults:
                report.skipped[self._files[item][0]] = self._fault(report, item, self._faults[item])
        owners, parts = self._parts(items)
        good: Counter[int] = Counter()
        first: dict[int, str] = {}
        broken: Counter[int] = Counter()
        spec = self._spec
        decoded = self._pool.decode(parts, spec.size, spec.channels, spec.background, self._white, spec.fit)
        for item, picture in zip(owners, decoded, strict=True):
            if text := self._fault(report, item, picture):
                broken[item] += 1
                others = f"; {broken[item] - 1:,} more of its pictures likewise" if broken[item] > 1 else ""
                report.skipped[self._files[item][0]] = first.setdefault(item, text) + others
                yield None
            elif not isinstance(picture, str):
                good[item] += 1
                yield picture
        for item, count in good.items() if spec.labels else ():
            name = class_folder(self._files[item][0], self._root)
            report.classes[name] = report.classes.get(name, 0) + count
        report.runs += good.values() if spec.all_frames else ()

    def _parts(self, items: range) -> tuple[list[int], list[Part]]:
        """The pictures of some files that are made: the file of each, and what is to be decoded."""
        start, stop = self._starts[items.start], self._starts[items.stop]
        rows = np.arange(start, stop)
        if self._chosen is not None:
            rows = self._chosen[slice(*np.searchsorted(self._chosen, [start, stop]))]
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        frames = rows - self._starts[owners]
        parts = [Part(Path(self._files[item][0]), int(frame)) for item, frame in zip(owners, frames, strict=True)]
        return owners.tolist(), parts

    def _fault(self, report: PictureReport, item: int, answer: object) -> str:
        """Why there is no picture, or findings; empty if there are."""
        path, state = self._files[item]
        if file_state(path) == state:
            return answer if isinstance(answer, str) else ""
        if path not in report.changed:
            report.changed.append(path)
        return f"{path}: changed while the pictures were prepared"

    def _white_levels(self, probes: dict[int, Probe], report: PictureReport) -> dict[str, float]:
        """The white level of each kind, one for all files, which keep their brightness beside each other."""
        white = {}
        for kind in (INTEGERS, FLOATS):
            if found := {item: probe.brightest[kind] for item, probe in probes.items() if kind in probe.brightest}:
                brightest = max(found, key=found.__getitem__)
                white[kind] = white_level(found[brightest], kind)
                report.remarks.append(
                    f"White is {white[kind]:g} in {_files(len(found))} of {kind}, of which "
                    f"{self._files[brightest][0]} is the brightest ({found[brightest]:g}); --data.white states another"
                )
        return white


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
