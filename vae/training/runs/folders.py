"""The folders of runs: `checkpoints/<source>/version_N` and `logs/<source>/version_N`."""

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from data.system.files import resolved, save_bytes, storage_errors

_RECORD, _LONGEST = "job.json", 4096  # characters


def version_number(run: Path) -> int | None:
    """The number N of a folder `version_N`; None if it has another name."""
    match = re.fullmatch(r"version_(\d+)", run.name)
    return int(match[1]) if match else None


def next_version(*folders: Path) -> int:
    """The least number above those of all `version_N` in some folders."""
    taken = [version_number(run) for folder in folders if folder.is_dir() for run in folder.iterdir()]
    return max((each + 1 for each in taken if each is not None), default=0)


def claim_version_folder(checkpoints: Path, logs: Path) -> Path:
    """Makes the folder of a new run; each gets its own, however many start in the same moment.

    Args:
        checkpoints: the folder of all runs on a source.
        logs: that of their logs.

    Raises:
        StorageError: the folder cannot be made.
    """
    while True:
        run = checkpoints / f"version_{next_version(checkpoints, logs)}"
        with storage_errors(run), suppress(FileExistsError):
            run.mkdir(parents=True)
            return run


def remove_empty_folders(run: Path) -> None:
    """Removes a run's folder, that of its source and that of all runs, each if it is empty."""
    with suppress(OSError):
        for folder in (run, run.parent, run.parent.parent):
            if folder.exists():
                folder.rmdir()


def run_folder_of(checkpoint: Path, root: Path) -> Path | None:
    """The folder in which a training continues from a checkpoint; None if it gets a new one.

    It continues in the run's own from `<root>/checkpoints/<source>/<run>/last.ckpt`, whatever its source is called.
    """
    run = checkpoint.parent.absolute()
    runs = [resolved(folder.parent.parent) for folder in (run, resolved(run))]  # the run, or its parent, may be a link
    return checkpoint.parent if checkpoint.name == "last.ckpt" and resolved(root / "checkpoints") in runs else None


@dataclass(frozen=True)
class JobRecord:
    """The cluster's job that trains in a run, and which of its launches; empty outside of clusters."""

    job: str = ""
    launch: str = ""

    @classmethod
    def read(cls, run: Path) -> "JobRecord":
        """The record in a run's folder; an empty one where there is none or it is damaged: it is only compared."""
        try:
            with (run / _RECORD).open(encoding="utf-8") as file:
                found = json.loads(file.read(_LONGEST))
            job, launch = found["job"], found["launch"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return cls()
        return cls(job, launch) if isinstance(job, str) and isinstance(launch, str) else cls()

    def write(self, run: Path) -> None:
        """Writes the record to a run's folder, unless it is empty. Raises `StorageError` if it cannot."""
        if self != JobRecord():
            save_bytes(json.dumps(asdict(self)).encode(), run / _RECORD)
