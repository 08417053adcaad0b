"""A folder of picture files as a source: they are probed, decoded, and those that cannot be are reported."""

import os
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import PIL
from tqdm import tqdm

from data.image_files.decode_pool import DecodePool, Part
from data.image_files.formats import heif_version
from data.image_files.levels import FLOATS, INTEGERS, white_level
from data.image_files.listing import State, file_state, find_pictures
from data.image_files.reader import Probe
from data.picture_source import PictureReport, Pictures, PictureSource, PictureSpec


def open_folder(root: Path, spec: PictureSpec) -> PictureSource:
    """The pictures below a folder, in the order of their names. Raises `UserError` if there are none.

    A file that has changed since the folder was listed is skipped, as a broken one is, and noted in
    `PictureReport.changed`.
    """
    listing = find_pictures(root)
    files = list(listing.pictures.items())
    if not spec.all_frames:
        files = [files[index] for index in spec.subset(len(files))]
    recipe = {
        "root": os.path.realpath(root),
        "files": [(str(path.relative_to(root)), state) for path, state in files],
        "background": spec.background,
        "white": spec.white,
        "frames": (spec.limit, spec.seed) if spec.all_frames else None,
        "pillow": PIL.__version__,
        "heif": heif_version(),
    }
    count = None if spec.all_frames else len(files)
    return PictureSource(recipe, count, partial(_pictures, dict(files), spec), listing.left_out())


def _pictures(states: Mapping[Path, State | None], spec: PictureSpec, report: PictureReport) -> Pictures:
    def fault(path: Path, answer: object) -> str:
        """Why there is no picture; empty if there is one."""
        if file_state(path) == states[path]:
            return answer if isinstance(answer, str) else ""
        if str(path) not in report.changed:
            report.changed.append(str(path))
        return f"{path}: changed while the pictures were prepared"

    with DecodePool() as pool:
        probes: dict[Path, Probe] = {}
        answers = pool.probe(states, spec.all_frames, spec.white is None)
        bar = tqdm(answers, "Looking into files", len(states), leave=False, unit=" files", delay=1)
        for path, probe in zip(states, bar, strict=True):
            if isinstance(probe, str):
                report.skipped[str(path)] = fault(path, probe)
            else:
                probes[path] = probe
        parts = [Part(path, frame) for path, probe in probes.items() for frame in range(probe.pictures)]
        if spec.all_frames:
            parts = [parts[index] for index in spec.subset(len(parts))]
        white = dict.fromkeys((INTEGERS, FLOATS), spec.white) if spec.white else _white_levels(probes, report)
        if more := sum(probe.more for probe in probes.values()):
            report.remarks.append(
                f"{_files(more)} {'holds' if more == 1 else 'hold'} more than one picture, "
                "of which the first is taken; --data.all_frames true takes all"
            )
        good: Counter[Path] = Counter()
        first: dict[Path, str] = {}
        broken: Counter[Path] = Counter()
        decoded = pool.decode(parts, spec.size, spec.channels, spec.background, white, spec.fit)
        for (path, _), picture in zip(parts, decoded, strict=True):
            if text := fault(path, picture):
                broken[path] += 1
                others = f"; {broken[path] - 1:,} more of its pictures likewise" if broken[path] > 1 else ""
                report.skipped[str(path)] = first.setdefault(path, text) + others
                yield None
            elif not isinstance(picture, str):
                good[path] += 1
                yield picture
        report.runs += good.values() if spec.all_frames else ()


def _white_levels(probes: Mapping[Path, Probe], report: PictureReport) -> dict[str, float]:
    """The white level of each kind, one for all files, which keep their brightness beside each other."""
    white = {}
    for kind in (INTEGERS, FLOATS):
        if found := {path: probe.brightest[kind] for path, probe in probes.items() if kind in probe.brightest}:
            brightest = max(found, key=found.__getitem__)
            white[kind] = white_level(found[brightest], kind)
            report.remarks.append(
                f"White is {white[kind]:g} in {_files(len(found))} of {kind}, of which {brightest} is the brightest "
                f"({found[brightest]:g}); --data.white states another"
            )
    return white


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
