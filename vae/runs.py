"""The folders of runs: `checkpoints/<source>/version_N` and `logs/<source>/version_N`."""

import re
from contextlib import suppress
from pathlib import Path

from data.files import writing


def number(run: Path) -> int | None:
    """A run's, None if its folder was renamed."""
    match = re.fullmatch(r"version_(\d+)", run.name)
    return int(match[1]) if match else None


def next_version(*folders: Path) -> int:
    """The first run number above all that are taken in any of the folders."""
    taken = [number(run) for folder in folders if folder.is_dir() for run in folder.iterdir()]
    return max((each + 1 for each in taken if each is not None), default=0)


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
            if folder.exists():
                folder.rmdir()
