"""The film of a training: one morph goes there and back while the model that draws it learns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple

from tqdm import tqdm

from data.system.errors import UserError, echo, escape_unprintable
from data.system.spelling import suggest, suggest_file
from vae.option_groups import Range, Words
from vae.render.formats import captions, writers
from vae.render.formats.format import FORMATS
from vae.render.formats.frame import Frame, resize
from vae.render.frames import check_memory
from vae.render.growth.morph_files import FOLDER, Moment, find_morphs, read_morph
from vae.render.options import File, RenderRequest

_PATHS = ("slerp", "linear", "loop")
_CLOSED = ("loop",)
_HEIGHT = 256


def _parse_paths(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in _PATHS:
            raise UserError(f"path {name!r}: no such morph of a training; {suggest(name, _PATHS)}")
    return tuple(dict.fromkeys(names)) or _PATHS[:1]


@dataclass(frozen=True)
class GrowthOptions:
    """The film of a training.

    Args:
        run: the log folder of a training, logs/pictures/version_0 for example; null is the newest below logs/.
        size: height of a morph in pixels; null is 256, or its own where that is larger.
        seconds: about how long the film is: a whole number of times there and back, the last one by the last model.
        fps: frames a second.
        out: the result; the suffix picks the format: .gif .webp .png .avif .mp4 .webm, or none for a folder of frames;
            null is renders/growth.gif.
    """

    run: File = None
    paths: Annotated[
        tuple[str, ...], Words(f"which of a training's morphs, side by side: {' '.join(_PATHS)}", _parse_paths)
    ] = _PATHS[:1]
    size: Annotated[int | None, Range(16, 4096)] = None
    seconds: Annotated[float, Range(1, 600)] = 10.0
    fps: float = 12.0
    out: File = None


class Place(NamedTuple):
    """What a frame of the film shows: which of the training's morphs, and where in it, from 0 to below 1 or to 1."""

    morph: int
    share: float


def schedule(morphs: int, turn: int, turns: int, closed: bool) -> list[Place]:
    """What the frames of a film show, which begins and ends at the same place of the morph.

    The morphs follow one another at equal distances in all turns but the last, in which the last of them stays. Of more
    morphs than frames some are left out. An open morph goes there and back in a turn, a closed one once around.

    >>> [place.morph for place in schedule(3, 4, 3, True)]
    [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    >>> [place.share for place in schedule(1, 4, 1, False)]
    [0.0, 0.5, 1.0, 0.5]
    """
    growing = turn * max(turns - 1, 1)
    passed = [frame % turn / turn for frame in range(turn * turns)]
    shares = passed if closed else [1 - abs(1 - 2 * part) for part in passed]
    return [Place(min(morphs - 1, frame * morphs // growing), share) for frame, share in enumerate(shares)]


def growth(request: RenderRequest, options: GrowthOptions) -> Path:
    """Writes the film of a training."""
    out, run = request.default_out(options.out, ".gif"), options.run or _newest_run()
    writers.check(out, options.fps)
    found = {path: _files(run, path) for path in options.paths}
    first, *_ = options.paths
    drawn, count = len(read_morph(found[first][-1]).frames), max(2, round(options.seconds * options.fps))
    turn = min(drawn if first in _CLOSED else max(1, 2 * (drawn - 1)), count // 2)
    turns = round(count / turn)
    if out.suffix and not FORMATS[out.suffix.lower()].streamed:
        check_memory(len(found) * turn * turns, options.size or _HEIGHT)
    labels = found if len(found) > 1 else [""]
    columns = [
        _column(files, schedule(len(files), turn, turns, path in _CLOSED), path in _CLOSED, options.size, label)
        for (path, files), label in zip(found.items(), labels, strict=True)
    ]
    frames = map(captions.in_row, map(list, zip(*columns, strict=True)))
    with tqdm(frames, escape_unprintable(str(out)), turn * turns, leave=False, unit=" frames", delay=1) as bar:
        writers.write(bar, out, options.fps)
    amount = len(found[first])
    echo(f"{out}: {turn * turns} frames, {turn * turns / options.fps:.1f} s, {amount} validations of {run}")
    return out


def _newest_run() -> Path:
    """The log folder in which a morph was written last."""
    files = list(Path("logs").glob(f"*/*/{FOLDER}/*/*.gif"))
    if not files:
        raise UserError("logs: holds no morphs of a training; train first, or name a run's log folder with --run")
    return max(files, key=lambda file: file.stat().st_mtime_ns).parents[2]


def _files(run: Path, path: str) -> list[Path]:
    if not run.is_dir():
        raise UserError(f"{run}: no such folder; {suggest_file(run, 'name one like logs/pictures/version_0')}")
    files = find_morphs(run, path)
    if not files:
        raise UserError(f"{run}: holds no morphs/{path}; name a training's log folder, logs/pictures/version_0 say")
    return files


def _column(
    files: Sequence[Path], places: Sequence[Place], closed: bool, size: int | None, label: str
) -> Iterator[Frame]:
    """The frames of one path, all of the first one's size, with their captions."""
    read, shape = lru_cache(1)(read_morph), None
    for place in places:
        morph = read(files[place.morph])
        drawn = len(morph.frames)
        frame = morph.frames[round(place.share * (drawn if closed else drawn - 1)) % drawn]
        height = size or (max(_HEIGHT, frame.shape[0]) if shape is None else shape[0])
        frame = resize(frame, height, "lanczos")
        shape = shape or frame.shape
        if frame.shape != shape:
            raise UserError(f"{files[place.morph]}: has other proportions than the first; remove it")
        yield captions.caption(frame, ", ".join(filter(None, (label, describe(morph.moment)))))


def describe(moment: Moment) -> str:
    """A moment in words.

    >>> describe(Moment(2.504, 0.5)), describe(Moment(12, None))
    ('epoch 2.5, sharpness 0.50', 'epoch 12')
    """
    epoch = f"epoch {round(moment.epoch, 2):g}"
    return epoch if moment.sharpness is None else f"{epoch}, sharpness {moment.sharpness:.2f}"
