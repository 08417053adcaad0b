"""TensorBoard's logs, whose loss is noticed.

torch's writer leaves them to a thread, which a full disk ends with a traceback and with half an event; the training
hears of it later, in a step, or never.
"""

import io
import os
import socket
import time
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[attr-defined]
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import FileWriter, SummaryWriter

from data.system.errors import StorageError
from data.system.files import storage_errors
from vae.training.tensorboard import dashboard


def _record(event: Any) -> bytes:
    content = io.BytesIO()
    writer: Any = RecordWriter
    writer(content).write(event.SerializeToString())
    return content.getvalue()


class EventFile:
    """Takes events and writes each at once, whole or not at all.

    Args:
        folder: where it will lie; made with the first event.
        purge_step: what earlier logs in the folder say of it and later ones is hidden, once there is an event.

    Attributes:
        fault: of the first event that could not be written; None if all were.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self._opening = [Event(wall_time=time.time(), file_version="brain.Event:2")]
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._opening.append(Event(wall_time=time.time(), step=purge_step, session_log=start))
        now = f"{time.time():017.6f}"  # TensorBoard reads a folder's files by the order of their names
        self.path = folder / f"events.out.tfevents.{now}.{socket.gethostname()}.{os.getpid()}"
        self.fault: StorageError | None = None

    def add_event(self, event: Any) -> None:
        """Appends an event; notes it if that cannot be."""
        try:
            with storage_errors(self.path):
                self._append(_record(event))
        except StorageError as fault:
            self.fault = self.fault or fault

    def _append(self, record: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            start = file.tell()
            try:
                if not start:
                    record = b"".join(map(_record, self._opening)) + record
                left = memoryview(record)
                while left:
                    left = left[file.write(left) :]
            except BaseException:
                file.truncate(start)
                if not start:
                    self.path.unlink()
                raise

    def get_logdir(self) -> str:
        """Where it lies."""
        return str(self.path.parent)

    def flush(self) -> None:
        """Nothing waits to be written."""

    def close(self) -> None:
        """Nothing is open."""


class _FileWriter(FileWriter):
    event_writer: Any

    def __init__(self, events: EventFile) -> None:
        self.event_writer = events


class _SummaryWriter(SummaryWriter):
    file_writer: Any
    all_writers: Any

    def __init__(self, events: EventFile) -> None:
        self._events = events
        super().__init__(events.get_logdir())

    def _get_file_writer(self) -> FileWriter:
        """Asked for by all that adds something."""
        if self.file_writer is None:
            self.file_writer = _FileWriter(self._events)
            self.all_writers = {self._events.get_logdir(): self.file_writer}
        return self.file_writer


class RunLogger(TensorBoardLogger):
    """Lightning's logger, which goes on when something could not be written, and remembers it.

    Args:
        folder: `<root>/<name>/<version>`, where the logs of a run lie.
        purge_step: what earlier logs in the folder say of it and later ones is hidden; None hides nothing.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        digits = folder.name.removeprefix("version_")  # which the progress bar shows
        names = folder.parent.name, int(digits) if digits.isdecimal() else folder.name
        super().__init__(folder.parent.parent, *names, default_hp_metric=False)
        self._events = EventFile(folder, purge_step)
        self._new = not any(folder.glob("events.out.tfevents.*"))

    @property
    def fault(self) -> StorageError | None:
        """Of the first thing that could not be written; None if all was."""
        return self._events.fault

    def forgive(self) -> StorageError | None:
        """Forgets a fault, and returns it."""
        fault, self._events.fault = self._events.fault, None
        return fault

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """The writer of torch, made when it is first asked for."""
        if self._experiment is None:
            self._experiment = _SummaryWriter(self._events)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any, metrics: Any = None, step: int | None = None) -> None:
        """How TensorBoard is to arrange the run; what goes on with earlier logs has told it."""
        if self._new:
            self._add(dashboard.layout(), *dashboard.session_start(dict(params)))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """An end is told of a training that is done; one that was interrupted may go on."""
        super().finalize(status)
        if status == "success":
            self._add(dashboard.session_end())

    def _add(self, *summaries: Any) -> None:
        for summary in summaries:
            self._events.add_event(Event(wall_time=time.time(), summary=summary))

    def save(self) -> None:
        """All is written already; the hyperparameters are in the run's config.yaml."""
