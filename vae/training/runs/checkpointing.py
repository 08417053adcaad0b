"""How a run's files are written: whole or not at all."""

import io
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
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
from data.system.files import save
from vae.checkpoint import read
from vae.training.alarms import are_finite
from vae.training.environment import stopping_signals
from vae.training.runs.training_state import restored
from vae.training.tensorboard.logger import RunLogger

_TWO_MINUTES = 120.0  # seconds
_LOOK_EVERY = 10  # steps


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are whole or not there: Lightning's own writes are neither synced nor moved into place.

    Args:
        module: the `VAETraining` that they are of.

    Attributes:
        fault: of the first that could not be written; later ones are not tried, for they would tell of that one.
        check: raises a `StorageError` where another process writes there by now.
        checked: the content of the checkpoint to load, if it was read and `restored` before.
    """

    checked: dict[str, Any] | None = None

    fault: StorageError | None = None
    check: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, module: pl.LightningModule) -> None:
        super().__init__()
        self.module = module

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Called on the first process alone, while the others wait for it, so that it must not fail alone."""
        if self.fault is None:
            content = io.BytesIO()
            torch.save(checkpoint, content)
            self.try_to_save(content.getvalue(), Path(path))

    def try_to_save(self, content: bytes, path: Path) -> None:
        """Writes a file, or notes the fault."""
        try:
            self.check()
            save(content, path)
        except StorageError as fault:
            self.fault = fault

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Never a pickle, whatever is asked for, and nothing that was not looked at."""
        checked, self.checked = self.checked, None
        return restored(read(Path(path)), self.module, Path(path)) if checked is None else checked

    def remove_checkpoint(self, path: Any) -> None:
        """A file; Lightning's own removes folders as well, with all that is in them."""
        if Path(path).is_file():
            Path(path).unlink()


def fault(trainer: pl.Trainer) -> StorageError | None:
    """What this process could not write of checkpoints, else of logs; None if all was written."""
    keepers = (trainer.strategy.checkpoint_io, *trainer.loggers)
    faults = (keeper.fault for keeper in keepers if isinstance(keeper, (WholeCheckpointIO, RunLogger)))
    return next(filter(None, faults), None)


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt`: after each epoch, now and then within one, and when the training is told to stop.

    So it is when something could not be written. Weights that are not finite are not kept; `FiniteAlarm` will tell of
    them.

    Ctrl-C is as kind as SIGTERM: the step is finished and kept. A second Ctrl-C stops at once. Processes that train
    together stop after the same step, whichever of them was told.

    Args:
        folder: where it lies.
        every_n_steps: how often within an epoch; None is every two minutes.
    """

    def __init__(self, folder: Path, every_n_steps: int | None = None) -> None:
        self.path, self.every_n_steps = folder / "last.ckpt", every_n_steps
        self._saved = 0
        self._when = time.monotonic()
        self._signal: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Asks `ImageData` for the moment when all of a step is done and told, which no hook of a callback is.

        What a training goes on from is not kept again: before the first step of an epoch Lightning would count one.
        """
        self._saved = trainer.global_step
        trainer.datamodule.between_steps = partial(self.between_steps, trainer)  # type: ignore[attr-defined]
        if threading.current_thread() is threading.main_thread():
            for number in stopping_signals():
                if signal.getsignal(number) is signal.SIG_IGN:  # nohup's wish
                    continue
                signal.signal(number, self._note)  # Lightning puts back what was there before it came

    def _note(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    def between_steps(self, trainer: pl.Trainer) -> None:
        """Keeps the state if that is due.

        Raises:
            SystemExit: when told to stop; 128 and the number of the signal.
            PlaceError: something could not be written.
        """
        stop = _agreed(trainer, self._signal is not None or fault(trainer) is not None)
        if self.every_n_steps is None:
            due = _agreed(trainer, time.monotonic() - self._when > _TWO_MINUTES)
        else:
            due = trainer.global_step % self.every_n_steps == 0
        if not (due or stop):
            return
        if _complete(trainer):
            self._save(trainer)
        elif trainer.global_step != self._saved:
            return
        if stop:
            self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> NoReturn:
        if found := fault(trainer):
            raise found
        raise SystemExit(128 + (self._signal or signal.SIGTERM))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After validation, which is done again if the logs could not take its numbers."""
        lost = any(isinstance(logger, RunLogger) and logger.fault for logger in trainer.loggers)
        if trainer.strategy.reduce_boolean_decision(lost, all=False):
            self._stop(trainer)
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step > self._saved and are_finite(trainer.lightning_module):
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.flush()  # what came before a checkpoint is not told again after it
            trainer.save_checkpoint(self.path)
            self._saved, self._when = trainer.global_step, time.monotonic()


def _agreed(trainer: pl.Trainer, wish: bool) -> bool:
    """Whether any of the processes wishes it; where there are several, they ask one another now and then only."""
    if trainer.world_size == 1:
        return wish
    return trainer.global_step % _LOOK_EVERY == 0 and trainer.strategy.reduce_boolean_decision(wish, all=False)


def _complete(trainer: pl.Trainer) -> bool:
    """Whether no gradients are being gathered, which a checkpoint does not hold."""
    return not (trainer.is_last_batch or trainer.fit_loop.epoch_loop._should_accumulate())


class KeepConfig(SaveConfigCallback):
    """Writes `config.yaml`, which `--config` takes, beside the run's checkpoints."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Called on the first process alone."""
        kept = next((one for one in trainer.checkpoint_callbacks if isinstance(one, LastCheckpoint)), None)
        if stage == "fit" and kept is not None:
            text = self.parser.dump(self.config, skip_unset=False)
            keeper = trainer.strategy.checkpoint_io
            assert isinstance(keeper, WholeCheckpointIO)
            keeper.try_to_save(text.encode(), kept.path.with_name("config.yaml"))
