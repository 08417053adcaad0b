"""How a run's files are written: whole or not at all."""

import io
import signal
import threading
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from data.files import save
from vae.callbacks import are_finite
from vae.checkpoint import read

_TWO_MINUTES = 120.0  # seconds
_LOOK_EVERY = 10  # steps


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are whole or not there: Lightning's own writes are neither synced nor moved into place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Called on the first process alone."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        save(content.getvalue(), Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Never a pickle, whatever is asked for."""
        return read(Path(path))


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt`: after each epoch, now and then within one, and when the training is told to stop.

    Weights that are not finite are not kept; `Alarms` will tell of them.

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
        """Asks `ImageData` for the moment when all of a step is done and told, which no hook of a callback is."""
        trainer.datamodule.between_steps = partial(self.between_steps, trainer)  # type: ignore[attr-defined]
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._note)  # Lightning puts back what was there before it came

    def _note(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    def between_steps(self, trainer: pl.Trainer) -> None:
        """Keeps the state if that is due.

        Raises:
            SystemExit: when told to stop; 128 and the number of the signal.
        """
        stop = _agreed(trainer, self._signal is not None)
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
            raise SystemExit(128 + (self._signal or signal.SIGTERM))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After validation."""
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
    """Whether no gradients are being gathered and no validation is next, which a resumed run would leave out."""
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return not (trainer.is_last_batch or loop._should_accumulate() or loop._should_check_val_fx(fetcher))


class KeepConfig(SaveConfigCallback):
    """Writes `config.yaml`, which `--config` takes, beside the run's checkpoints."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Called on the first process alone."""
        if stage == "fit" and isinstance(trainer.checkpoint_callback, ModelCheckpoint):
            text = self.parser.dump(self.config, skip_none=False)
            save(text.encode(), Path(str(trainer.checkpoint_callback.dirpath)) / "config.yaml")
