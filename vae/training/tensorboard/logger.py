"""TensorBoard's logs, written at once and by the training's own thread, so that a full disk is noticed.

torch's writer has a thread of its own: on a full disk it ends with a traceback and half an event, and the training
learns of it in a later step, or never.
"""

import io
import os
import socket
import time
from collections.abc import Mapping
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
    """A file of events, each written at once, whole or not at all; its folder is made with the first one.

    Args:
        folder: of the file.
        purge_step: TensorBoard hides what earlier logs in the folder have of this step and later; None hides nothing.

    Attributes:
        fault: the error of the first event that could not be written; None if all were.
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
        """Appends an event, or sets `fault`."""
        try:
            with storage_errors(self.path):
                self._append(_record(event))
        except StorageError as fault:
            self.fault = self.fault or fault

    def _append(self, record: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("ab") as file:
                file.write(record if size else b"".join(map(_record, self._opening)) + record)
        except BaseException:
            os.truncate(self.path, size)
            if not size:
                self.path.unlink()
            raise

    def get_logdir(self) -> str:
        return str(self.path.parent)

    def flush(self) -> None:
        """Nothing: no event waits to be written."""

    close = flush  # nor is the file held open


class _SummaryWriter(SummaryWriter):
    """torch's writer of an `EventFile`."""

    file_writer: Any
    all_writers: Any

    def __init__(self, events: EventFile) -> None:
        self._events = events
        super().__init__(events.get_logdir())

    def _get_file_writer(self) -> FileWriter:
        if self.file_writer is None:
            self.file_writer = FileWriter.__new__(FileWriter)
            self.file_writer.event_writer = self._events
            self.all_writers = {self._events.get_logdir(): self.file_writer}
        return self.file_writer


class RunLogger(TensorBoardLogger):
    """Lightning's logger; a training continues where an event cannot be written, and `events.fault` says which one.

    Args:
        folder: `<root>/<name>/<version>`, for the logs of a run.
        purge_step: as of `EventFile`.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        digits = folder.name.removeprefix("version_")  # the progress bar shows this number
        names = folder.parent.name, int(digits) if digits.isdecimal() else folder.name
        super().__init__(folder.parent.parent, *names, default_hp_metric=False)
        self.events = EventFile(folder, purge_step)
        self._new = not any(folder.glob("events.out.tfevents.*"))
        self._success: Any = None  # the summary of a successful end

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """The writer of torch, made at the first use."""
        if self._experiment is None:
            self._experiment = _SummaryWriter(self.events)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any, metrics: Any = None, step: int | None = None) -> None:
        """Writes the arrangement of the charts and the run's row in HParams, unless earlier logs have them."""
        columns, values, self._success = dashboard.hparams_summaries(dict(params))
        if self._new:
            writer = self.experiment._get_file_writer()
            self.experiment.add_custom_scalars(dashboard.LAYOUT)
            writer.add_summary(columns)
            writer.add_summary(values)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes the numbers but for `epoch`, which Lightning adds to all of them: it would be the first chart."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Marks the run as successful in HParams if its training is done; one that was interrupted may continue."""
        super().finalize(status)
        if status == "success" and self._success is not None:
            self.experiment._get_file_writer().add_summary(self._success)

    def save(self) -> None:
        """Nothing: every event is written at once, and the hyperparameters are in the run's config.yaml."""
