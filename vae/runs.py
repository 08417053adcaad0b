"""The folders of runs: `checkpoints/<source>/version_N` and `logs/<source>/version_N`."""

import re
from contextlib import suppress
from pathlib import Path

from data.files import writing


def next_version(*folders: Path) -> int:
    """The first run number above all that are taken in any of the folders."""
    names = [entry.name for folder in folders if folder.is_dir() for entry in folder.iterdir()]
    return max((int(match[1]) + 1 for name in names if (match := re.fullmatch(r"version_(\d+)", name))), default=0)


def claim(checkpoints: Path, logs: Path) -> Path:
    """A new folder for a run's checkpoints, which no other run can have, however many start in the same moment.

    Args:
        checkpoints: the folder of all runs on this source.
        logs: the one of their logs.

    Raises:
        UserError: the place cannot be written to.
    """
    while True:
        run = checkpoints / f"version_{next_version(checkpoints, logs)}"
        with writing(run), suppress(FileExistsError):
            run.mkdir(parents=True)
            return run


def give_back(run: Path) -> None:
    """Removes a run's folder, and those around it, if nothing is in them."""
    with suppress(OSError):
        for folder in (run, run.parent, run.parent.parent):
            folder.rmdir()
