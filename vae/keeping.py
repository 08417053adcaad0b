"""How a run's files are written: whole or not at all."""

import io
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback

from data.files import save


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are whole or not there: Lightning's own writes are neither synced nor moved into place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Called on the first process alone."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        save(content.getvalue(), Path(path))


class KeepConfig(SaveConfigCallback):
    """Writes `config.yaml`, which `--config` takes, beside the run's checkpoints."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Called on the first process alone."""
        if stage == "fit" and isinstance(trainer.checkpoint_callback, ModelCheckpoint):
            text = self.parser.dump(self.config, skip_none=False)
            save(text.encode(), Path(str(trainer.checkpoint_callback.dirpath)) / "config.yaml")
