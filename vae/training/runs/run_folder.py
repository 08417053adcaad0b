"""`RunFolder`: the folders in which one training writes, and their lock."""

import shutil
from pathlib import Path

from data.sources import source_name
from data.system.files import remove_temporary_files
from data.system.signals import block_signals
from vae.training import environment
from vae.training.runs.folders import (
    JobRecord,
    claim_version_folder,
    next_version,
    remove_empty_folders,
    run_folder_of,
)
from vae.training.runs.lock import RunLock

_FILES = ("last.ckpt", "best.ckpt", "config.yaml")


class RunFolder:
    """The folders of one run: `<root>/checkpoints/<source>/version_N`, and the same below `logs/`.

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
        """Sets `path`: the folder of the run that is resumed, else that of a new one.

        Args:
            root: the folder of `checkpoints/` and `logs/`.
            source: the source of the pictures.
            resumed: the checkpoint that the training continues from.
            writes: whether the training will write there; then the first process makes the folder and locks it.

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
        """Writes which job trains in the run that is locked."""
        if self.lock.run is not None:
            JobRecord(environment.job_id(), environment.launch_name()).write(self.lock.run)

    def close(self, trained: bool) -> None:
        """Releases the lock, and removes a new run whose training has not `trained` a step."""
        self.lock.release()
        if not self._new:
            return
        for folder in (self.path, self.logs):
            if not trained:
                shutil.rmtree(folder, ignore_errors=True)
            remove_empty_folders(folder)
