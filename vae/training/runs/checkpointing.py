"""Writes the files of a run, whole or not at all: `last.ckpt` and `config.yaml`."""

import io
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from data.system.errors import StorageError
from data.system.files import save_bytes
from vae.checkpoint import read
from vae.training.callbacks import are_finite
from vae.training.environment import stopping_signals
from vae.training.module import VAETraining
from vae.training.runs.training_state import checked_state
from vae.training.tensorboard.logger import RunLogger

_TWO_MINUTES = 120.0  # seconds
_ASK_EVERY = 10  # steps


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints of a module whole or not at all, and reads them without pickles, checked.

    `check` raises a `StorageError` where another process writes there by now.

    Attributes:
        error: of the first file that could not be written; no later one is tried.
        checked: the content of the checkpoint to load, if it was read and checked before.
    """

    def __init__(self, module: VAETraining, check: Callable[[], None]) -> None:
        super().__init__()
        self.module, self.check = module, check
        self.checked: dict[str, Any] | None = None
        self.error: StorageError | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint. The other processes wait for the first, which must not fail alone."""
        if self.error is None:
            content = io.BytesIO()
            torch.save(checkpoint, content)
            self.try_to_save(content.getvalue(), Path(path))

    def try_to_save(self, content: bytes, path: Path) -> None:
        """Writes a file, or keeps the error."""
        try:
            self.check()
            save_bytes(content, path)
        except StorageError as error:
            self.error = error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """The checked content of a checkpoint; never a pickle, whatever is asked for."""
        checked, self.checked = self.checked, None
        return checked_state(read(Path(path)), self.module, Path(path)) if checked is None else checked

    def remove_checkpoint(self, path: Any) -> None:
        """Removes a file; Lightning's own removes folders as well, with all that is in them."""
        if Path(path).is_file():
            Path(path).unlink()


def write_error(trainer: pl.Trainer) -> StorageError | None:
    """The error of the first checkpoint, else log, that this process could not write; None if all were written."""
    checkpoints = trainer.strategy.checkpoint_io
    if isinstance(checkpoints, AtomicCheckpointIO) and checkpoints.error:
        return checkpoints.error
    return _log_error(trainer)


def _log_error(trainer: pl.Trainer) -> StorageError | None:
    faults = (logger.events.fault for logger in trainer.loggers if isinstance(logger, RunLogger))
    return next(filter(None, faults), None)


class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt` to a folder: after each epoch, within it every n steps or two minutes, and before stopping.

    Where validations do not follow the epochs, it is written at the training's end instead of after each epoch.

    A training stops on Ctrl-C and SIGTERM, after the current step, and where a file could not be written. A second
    Ctrl-C stops at once. Processes that train together stop after the same step, whichever of them got the signal.
    Weights that are not finite are not written; `NonFiniteGuard` reports them.
    """

    def __init__(self, folder: Path, every_n_steps: int | None = None) -> None:
        self.path, self.every_n_steps = folder / "last.ckpt", every_n_steps
        self._saved = 0
        self._when = time.monotonic()
        self._signal: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Catches the signals that ask a training to stop."""
        self._saved = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in stopping_signals():
                if signal.getsignal(number) is not signal.SIG_IGN:  # for which nohup asks
                    signal.signal(number, self._note)  # Lightning puts back what was there before it came

    def _note(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Writes the state if that is due: only now is all of the step before complete, validated and logged.

        Raises:
            SystemExit: when asked to stop; 128 and the number of the signal.
            StorageError: something could not be written.
        """
        stop = _any_process(trainer, self._signal is not None or write_error(trainer) is not None)
        if self.every_n_steps is None:
            due = _any_process(trainer, time.monotonic() - self._when > _TWO_MINUTES)
        else:
            due = trainer.global_step % self.every_n_steps == 0
        if (due or stop) and not batch_idx % trainer.accumulate_grad_batches:  # no gradients are being accumulated
            self._save(trainer)
            if stop:
                self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> NoReturn:
        if error := write_error(trainer):
            raise error
        raise SystemExit(128 + (self._signal or signal.SIGTERM))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the state after validation, which is done again if its numbers could not be logged."""
        if trainer.strategy.reduce_boolean_decision(_log_error(trainer) is not None, all=False):
            self._stop(trainer)
        if trainer.check_val_every_n_epoch is not None or trainer.should_stop:  # else epochs may be very short
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step > self._saved and are_finite(trainer.lightning_module):
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.flush()  # the steps before a checkpoint are not logged again after it
            trainer.save_checkpoint(self.path)
            self._saved, self._when = trainer.global_step, time.monotonic()


def _any_process(trainer: pl.Trainer, condition: bool) -> bool:
    """True if the condition holds on any process; several ask one another only now and then."""
    if trainer.world_size == 1:
        return condition
    return trainer.global_step % _ASK_EVERY == 0 and trainer.strategy.reduce_boolean_decision(condition, all=False)


class SaveRunConfig(SaveConfigCallback):
    """Writes `config.yaml`, which `--config` reads, beside the run's checkpoints."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Writes it; Lightning calls this on the first process alone."""
        checkpoints = trainer.strategy.checkpoint_io
        assert isinstance(checkpoints, AtomicCheckpointIO)
        for last in trainer.checkpoint_callbacks if stage == "fit" else ():
            if isinstance(last, LastCheckpoint):
                text = self.parser.dump(self.config, skip_unset=False)
                checkpoints.try_to_save(text.encode(), last.path.with_name("config.yaml"))
