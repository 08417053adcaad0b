"""A folder of picture files as a source: they are probed, decoded, and those that cannot be are reported."""

import os
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import PIL
from tqdm import tqdm

from data.image_files.decode_pool import DecodePool, Part
from data.image_files.formats import heif_version
from data.image_files.levels import WhiteLevels, white_level
from data.image_files.listing import ListedFile, file_state, find_pictures
from data.image_files.probe import Probe
from data.picture_source import Picture, PictureReport, Pictures, PictureSource, PictureSpec


def open_folder(root: Path, spec: PictureSpec) -> PictureSource:
    """The pictures below a folder, in the order of their names.

    A file that has changed since the folder was listed is skipped, as a broken one is, and noted in
    `PictureReport.changed`.

    Raises:
        UserError: no picture in it.
    """
    listing = find_pictures(root)
    files = listing.pictures
    if not spec.all_frames:
        files = [files[index] for index in spec.subset(len(files))]
    recipe = {
        "root": os.path.realpath(root),
        "files": [(str(file.path.relative_to(root)), file.state, file.fault) for file in files],
        "background": spec.background,
        "white": spec.white,
        "frames": (spec.limit, spec.seed) if spec.all_frames else None,
        "pillow": PIL.__version__,
        "heif": heif_version(),
    }
    count = None if spec.all_frames else len(files)
    return PictureSource(recipe, count, lambda report: _Reader(files, spec, report).pictures(), listing.left_out())


class _Reader:
    """Decodes files, and reports those that cannot be."""

    def __init__(self, files: list[ListedFile], spec: PictureSpec, report: PictureReport) -> None:
        self._spec, self._report = spec, report
        self._states = {file.path: file.state for file in files if file.state is not None}
        report.skipped.update({str(file.path): file.fault for file in files if file.state is None})

    def pictures(self) -> Pictures:
        spec = self._spec
        with DecodePool() as pool:
            probes = self._probes(pool)
            parts = [Part(path, frame) for path, probe in probes.items() for frame in range(probe.pictures)]
            if spec.all_frames:
                parts = [parts[index] for index in spec.subset(len(parts))]
            white = self._white_levels(probes)
            if more := sum(probe.more for probe in probes.values()):
                files = "1 file holds" if more == 1 else f"{more:,} files hold"
                self._report.remarks.append(
                    f"{files} more than one picture, of which the first is taken; --data.all_frames true takes all"
                )
            decoded = pool.decode(parts, spec.size, spec.channels, spec.background, white)
            for _, of_one_file in groupby(zip(parts, decoded, strict=True), key=lambda pair: pair[0].path):
                good = 0
                for picture in self._without_faults(of_one_file):
                    good += picture is not None
                    yield picture
                if spec.all_frames and good:
                    self._report.runs.append(good)

    def _probes(self, pool: DecodePool) -> dict[Path, Probe]:
        """The probe of each file that can be opened."""
        found = {}
        paths = list(self._states)
        probes = pool.probe(paths, self._spec.all_frames, self._spec.white is None)
        pairs = zip(paths, probes, strict=True)
        for path, probe in tqdm(pairs, "Looking into files", len(paths), leave=False, unit=" files", delay=1):
            if isinstance(probe, Probe):
                found[path] = probe
            else:
                self._report.skipped[str(path)] = self._change(path) or probe
        return found

    def _white_levels(self, probes: dict[Path, Probe]) -> WhiteLevels:
        """The white levels of all files, which keep their brightness beside each other."""
        if self._spec.white is not None:
            return WhiteLevels(self._spec.white, self._spec.white)
        levels: list[float | None] = []
        for integer, kind in ((True, "more than 8 bits"), (False, "floats")):
            every = {path: probe.integer if integer else probe.real for path, probe in probes.items()}
            found = {path: level for path, level in every.items() if level is not None}
            brightest = max(found, key=found.__getitem__, default=None)
            levels.append(None if brightest is None else white_level(found[brightest], integer))
            if brightest is not None:
                files = "1 file" if len(found) == 1 else f"{len(found):,} files"
                self._report.remarks.append(
                    f"White is {levels[-1]:g} in {files} of {kind}, of which {brightest} is the brightest "
                    f"({found[brightest]:g}); --data.white states another"
                )
        return WhiteLevels(*levels)

    def _without_faults(self, decoded: Iterable[tuple[Part, Picture | str]]) -> Pictures:
        """The pictures of one file, None where one is broken; broken ones in a row are named once."""
        broken, name, first = 0, "", ""
        for part, picture in decoded:
            fault = self._change(part.path) or (picture if isinstance(picture, str) else "")
            if not fault and not isinstance(picture, str):
                broken = 0
                yield picture
                continue
            if not broken:
                name, first = f"{part.path}, picture {part.frame + 1}" if part.frame else str(part.path), fault
            self._report.skipped[name] = first + (f"; {broken:,} more after it likewise" if broken else "")
            broken += 1
            yield None

    def _change(self, path: Path) -> str:
        """The fault of a file that has changed since it was listed; empty if it has not."""
        try:
            if file_state(path.stat()) == self._states[path]:
                return ""
        except OSError:
            pass
        if str(path) not in self._report.changed:
            self._report.changed.append(str(path))
        return f"{path}: changed while the pictures were prepared"
