"""The morphs of a training as files: `<logs of the run>/morphs/<path>/<pictures seen>.gif`, one for each validation.

A file's comment says when it was drawn and how sharp it is, so that a film needs nothing else.
"""

import json
import re
import warnings
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.system.checks import keys, number
from data.system.errors import UserError
from data.system.files import check_regular_file, save_bytes
from vae.render.formats.frame import Frame
from vae.render.formats.gif import with_comment

FOLDER = "morphs"
FPS = 12
MOST_FILES = 64  # of a path
_NAME = re.compile(r"\d{12}\.gif")
_MOST_BYTES, _MOST_PIXELS, _MOST_FRAMES, _LONGEST_SIDE = 32_000_000, 64_000_000, 10_000, 4096


class Moment(NamedTuple):
    """The state of a training when a morph was drawn.

    Attributes:
        epoch: how many were done; 2.5 is in the middle of the third.
        sharpness: the gradient energy of the frames over that of held-out pictures; None where these are flat.
    """

    epoch: float
    sharpness: float | None


class Morph(NamedTuple):
    """The frames of a morph, all of one size, and when it was drawn."""

    frames: list[Frame]
    moment: Moment


def find_morphs(run: Path, path: str) -> list[Path]:
    """The files of a path in the log folder of a run, the earliest first."""
    return sorted(file for file in (run / FOLDER / path).glob("*.gif") if _NAME.fullmatch(file.name))


def save_morph(gif: bytes, run: Path, path: str, pictures_seen: int, moment: Moment) -> None:
    """Writes a morph; of more than 64 of its path, one goes whose neighbours are nearest to one another.

    So what stays is spread evenly over the training. Raises `StorageError` if the place cannot be written to.
    """
    note = json.dumps({name: None if value is None else round(value, 4) for name, value in moment._asdict().items()})
    save_bytes(with_comment(gif, note), run / FOLDER / path / f"{pictures_seen:012d}.gif")
    files = find_morphs(run, path)
    for _ in range(len(files) - MOST_FILES):
        seen = [int(file.stem) for file in files]
        nearest = min(range(1, len(files) - 1), key=lambda place: seen[place + 1] - seen[place - 1])
        files.pop(nearest).unlink()


def remove_later_morphs(run: Path, pictures_seen: int) -> None:
    """Removes what a training has drawn after the place from which it goes on, and what killed writes have left."""
    for folder in (run / FOLDER).glob("*"):
        later = [file for file in find_morphs(run, folder.name) if int(file.stem) > pictures_seen]
        for file in (*later, *folder.glob(".*.gif-*")):
            with suppress(OSError):
                file.unlink()


def read_morph(file: Path) -> Morph:
    """The content of a file. Raises `UserError` unless it is what `save_morph` could have written."""
    check_regular_file(file)
    frames: list[Frame] = []
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        with warnings.catch_warnings(action="error"), Image.open(file, formats=["GIF"]) as image:
            moment = _moment(image.info.get("comment"))
            for index in count():
                try:
                    image.seek(index)
                except EOFError:
                    break
                width, height = image.size
                if max(width, height) > _LONGEST_SIDE or (index + 1) * width * height > _MOST_PIXELS:
                    raise ValueError("it has too many pixels")
                shown = max(1, round(image.info.get("duration", 0) * FPS / 1000))  # equal ones are merged in a GIF
                frames += [np.asarray(image.convert("RGB"))] * min(shown, _MOST_FRAMES)
                if len(frames) > _MOST_FRAMES or frames[-1].shape != frames[0].shape:
                    raise ValueError("it has too many frames, or of several sizes")
    except Exception as error:  # Pillow raises nearly anything on hostile bytes
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise UserError(f"{file}: is no morph that a training wrote ({reason}); remove it") from None
    return Morph(frames, moment)


def _moment(comment: object) -> Moment:
    """What a comment says. Raises `ValueError` if it says something else."""
    if not isinstance(comment, bytes) or len(comment) > 255:
        raise ValueError("it does not say when it was drawn")
    found = keys("its comment", json.loads(comment), Moment._fields)
    sharpness = found["sharpness"]
    return Moment(
        number("its epoch", found["epoch"], 0, 1e9),
        None if sharpness is None else number("its sharpness", sharpness, 0, 1e9),
    )
