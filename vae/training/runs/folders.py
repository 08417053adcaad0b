"""The folders of runs: `checkpoints/<source>/version_N` and `logs/<source>/version_N`."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from data.system.files import resolved, save_bytes, storage_errors

_NOTE, _LONGEST = "job.json", 4096  # letters


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
        with storage_errors(run), suppress(FileExistsError):
            run.mkdir(parents=True)
            return run


def give_back(run: Path) -> None:
    """Removes a run's folder, and those around it, if nothing is in them."""
    with suppress(OSError):
        for folder in (run, run.parent, run.parent.parent):
            if folder.exists():
                folder.rmdir()


def own_run(checkpoint: Path, root: Path) -> Path | None:
    """The folder in which a training goes on from a checkpoint, None if it gets a new one.

    It goes on in its own from `<root>/checkpoints/<source>/<run>/last.ckpt`, whatever its source is called by now.
    """
    here = checkpoint.parent.absolute()
    around = (
        resolved(folder.parent.parent) for folder in (here, resolved(here))
    )  # it, or what is around it, may be a link
    return checkpoint.parent if checkpoint.name == "last.ckpt" and resolved(root / "checkpoints") in around else None


class Note(NamedTuple):
    """Which job, and which of its launches, trained in a run; empty where none has noted it."""

    job: str = ""
    launch: str = ""

    @classmethod
    def read(cls, run: Path) -> "Note":
        """That of a run. It is compared and no more, so that what cannot be read is as good as none."""
        try:
            with (run / _NOTE).open(encoding="utf-8") as file:
                found = json.loads(file.read(_LONGEST))
            job, launch = found["job"], found["launch"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return cls()
        return cls(job, launch) if isinstance(job, str) and isinstance(launch, str) else cls()

    def write(self, run: Path) -> None:
        """Keeps it in a run; nothing where there is no job and no launch to be noted.

        Raises:
            PlaceError: the folder cannot be written to.
        """
        if any(self):
            save_bytes(json.dumps(self._asdict()).encode(), run / _NOTE)
