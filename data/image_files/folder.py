"""A folder of anyone's pictures as a source: decoded, and what could not be is told."""

import os
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import PIL
from tqdm import tqdm

from data.image_files.decode_pool import Part, Picture, decoded, probed
from data.image_files.formats import heif_version
from data.image_files.levels import White, white_level
from data.image_files.listing import Found, find_pictures, state_of
from data.image_files.probe import Probe
from data.source import Pictures, PictureSpec, Source


def folder(root: Path, wish: PictureSpec) -> Source:
    """The pictures below a folder, in the order of their names.

    A file that is not what it was when the folder was looked through is skipped, as one that is broken, and the cache
    told, so that it is looked into again next time.

    Raises:
        UserError: no picture in it.
    """
    listing = find_pictures(root)
    found = listing.pictures
    if not wish.all_frames:
        found = [found[index] for index in wish.subset(len(found))]
    recipe = {
        "root": os.path.realpath(root),
        "files": [(str(one.path.relative_to(root)), one.state, one.fault) for one in found],
        "background": wish.background,
        "white": wish.white,
        "frames": (wish.limit, wish.seed) if wish.all_frames else None,
        "pillow": PIL.__version__,
        "heif": heif_version(),
    }
    files = _Files(found, wish)
    count = None if wish.all_frames else len(found)
    source = Source(recipe, count, files.pictures, files.skipped, files.changed, files.remarks, files.runs)
    return replace(source, left_out=listing.left_out())


class _Files:
    """Files of pictures, and what is found out while they are decoded; see `Source`."""

    def __init__(self, found: list[Found], wish: PictureSpec) -> None:
        self.wish = wish
        self.states = {one.path: one.state for one in found if one.state is not None}
        self.faults = {str(one.path): one.fault for one in found if one.state is None}
        self.skipped: dict[str, str] = {}
        self.changed: list[str] = []
        self.remarks: list[str] = []
        self.runs: list[int] = []

    def pictures(self) -> Pictures:
        """Decodes them."""
        self.skipped.update(self.faults)
        probes = self._probes()
        parts = [Part(path, frame) for path, one in probes.items() for frame in range(one.pictures)]
        if self.wish.all_frames:
            parts = [parts[index] for index in self.wish.subset(len(parts))]
        wish, white = self.wish, self._white(probes)
        self._remark_on_more(probes)
        with closing(decoded(parts, wish.size, wish.channels, wish.background, white)) as contents:
            pairs = zip(parts, contents, strict=True)
            for _, of_one_file in groupby(pairs, key=lambda pair: pair[0].path):
                good = 0
                for picture in self._good(of_one_file):
                    good += picture is not None
                    yield picture
                if wish.all_frames and good:
                    self.runs.append(good)

    def _probes(self) -> dict[Path, Probe]:
        """What the files hold that can be looked into."""
        found = {}
        paths = list(self.states)
        with closing(probed(paths, self.wish.all_frames, self.wish.white is None)) as probes:
            pairs = zip(paths, probes, strict=True)
            for path, one in tqdm(pairs, "Looking into files", len(paths), leave=False, unit=" files", delay=1):
                if isinstance(one, Probe):
                    found[path] = one
                else:
                    self.skipped[str(path)] = one if self._is_same(path) else self._changed(path)
        return found

    def _white(self, probes: dict[Path, Probe]) -> White:
        """One level for all of them, so that they keep their brightness beside each other."""
        if self.wish.white is not None:
            return White(self.wish.white, self.wish.white)
        levels: list[float | None] = []
        for whole, kind in ((True, "more than 8 bits"), (False, "floats")):
            every = {path: one.whole if whole else one.real for path, one in probes.items()}
            found = {path: level for path, level in every.items() if level is not None}
            brightest = max(found, key=found.__getitem__, default=None)
            levels.append(None if brightest is None else white_level(found[brightest], whole))
            if brightest is not None:
                files = "1 file" if len(found) == 1 else f"{len(found):,} files"
                self.remarks.append(
                    f"White is {levels[-1]:g} in {files} of {kind}, of which {brightest} is the brightest "
                    f"({found[brightest]:g}); --data.white states another"
                )
        return White(*levels)

    def _remark_on_more(self, probes: dict[Path, Probe]) -> None:
        if more := sum(one.more for one in probes.values()):
            files = "1 file holds" if more == 1 else f"{more:,} files hold"
            self.remarks.append(
                f"{files} more than one picture, of which the first is taken; --data.all_frames true takes all"
            )

    def _good(self, contents: Iterable[tuple[Part, Picture | str]]) -> Pictures:
        """The pictures of one file, None where one is broken; those that are broken in a row are named once."""
        broken, name, first = 0, "", ""
        for part, content in contents:
            fault = content if isinstance(content, str) else ""
            if not self._is_same(part.path):
                fault = self._changed(part.path)
            if not fault and not isinstance(content, str):
                broken = 0
                yield content
                continue
            if not broken:
                name, first = f"{part.path}, picture {part.frame + 1}" if part.frame else str(part.path), fault
            self.skipped[name] = first + (f"; {broken:,} more after it likewise" if broken else "")
            broken += 1
            yield None

    def _changed(self, path: Path) -> str:
        if str(path) not in self.changed:
            self.changed.append(str(path))
        return f"{path}: changed while the pictures were prepared"

    def _is_same(self, path: Path) -> bool:
        try:
            return state_of(path.stat()) == self.states[path]
        except OSError:
            return False
