"""`RunFolder`: the folders of one training, `checkpoints/<source>/version_N` and the same in `logs/`."""

import re
import shutil
from contextlib import suppress
from pathlib import Path

from data.sources import source_name
from data.system.files import remove_temporary_files, resolved, save_bytes, storage_errors
from data.system.signals import block_signals
from vae.training import environment
from vae.training.runs.lock import RunLock

_FILES = ("last.ckpt", "best.ckpt", "config.yaml")
_JOB = "job.txt"


def next_version(*folders: Path) -> int:
    """The least number above those of all `version_N` in some folders."""
    names = [run.name for folder in folders if folder.is_dir() for run in folder.iterdir()]
    return max((int(match[1]) + 1 for name in names if (match := re.fullmatch(r"version_(\d+)", name))), default=0)


def claim_version_folder(checkpoints: Path, logs: Path) -> Path:
    """Makes the folder of a new run among those of a source; each gets its own, however many start in one moment.

    Raises:
        StorageError: the folder cannot be made.
    """
    while True:
        run = checkpoints / f"version_{next_version(checkpoints, logs)}"
        with storage_errors(run), suppress(FileExistsError):
            run.mkdir(parents=True)
            return run


def run_folder_of(checkpoint: Path, root: Path) -> Path | None:
    """The folder of `<root>/checkpoints/<source>/<run>/last.ckpt`; None for others, from which a new run begins."""
    run = checkpoint.parent.absolute()
    runs = [resolved(folder.parent.parent) for folder in (run, resolved(run))]  # the run, or its parent, may be a link
    return checkpoint.parent if checkpoint.name == "last.ckpt" and resolved(root / "checkpoints") in runs else None


def read_job(run: Path) -> str:
    """The cluster's job that trained in a run last; empty outside of clusters, or where the file is damaged."""
    with suppress(OSError, UnicodeDecodeError), (run / _JOB).open() as file:
        return file.read(100)  # it is only compared
    return ""


class RunFolder:
    """The folders of one run.

    Attributes:
        path: the folder of its checkpoints, once `open` was called.
        lock: held by the first process while a training writes there.
    """

    path: Path

    def __init__(self) -> None:
        self.lock = RunLock()
        self._root = Path()
        self._new = False

    @property
    def logs(self) -> Path:
        return self._root / "logs" / self.path.parent.name / self.path.name

    @property
    def all_logs(self) -> Path:
        """The folder of all runs' logs, which TensorBoard takes."""
        return self._root / "logs"

    def open(self, root: Path, source: str, resumed: Path | None, writes: bool) -> None:
        """Sets `path`: the folder, below `root`, of the run whose checkpoint is resumed, else of a new one on a source.

        If the training writes there, the first process makes the folder and locks it.

        Raises:
            StorageError: the folder cannot be made.
        """
        self._root, name = root, source_name(source)
        runs, logs = root / "checkpoints" / name, root / "logs" / name
        own = None if resumed is None else run_folder_of(resumed, root)
        writes = writes and environment.is_first_process()
        if own is not None:
            self.path = own
            for file in _FILES if writes else ():
                remove_temporary_files(own / file)
        elif writes:
            with block_signals():
                self.path = claim_version_folder(runs, logs)
                self._new = True
            self.lock.acquire(self.path)
            self.record_job()
        else:
            self.path = runs / f"version_{next_version(runs, logs)}"

    def record_job(self) -> None:
        """Writes which of the cluster's jobs trains in the run that is locked."""
        if self.lock.run is not None and environment.job_id():
            save_bytes(environment.job_id().encode(), self.lock.run / _JOB)

    def close(self, trained: bool) -> None:
        """Releases the lock, and removes a new run whose training has not `trained` a step."""
        self.lock.release()
        for folder in (self.path, self.logs) if self._new else ():
            if not trained:
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # the first one that is not empty
                for empty in (folder, folder.parent, folder.parent.parent):
                    if empty.exists():
                        empty.rmdir()
