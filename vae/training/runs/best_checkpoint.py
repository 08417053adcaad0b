"""`BestCheckpoint`: the weights that were best by a metric."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Writes `best.ckpt` to a folder. A training that goes on takes its score from the checkpoint, and no file name.

    Lightning's own trusts the file names in a checkpoint, and removes those files when something is better; where a run
    was moved it forgets the score, and overwrites the best weights with worse ones.
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        super().__init__(dirpath=folder, filename="best", monitor=monitor, mode=mode, enable_version_counter=False)
        self._resumed_score: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """The score; nothing while there is none that is finite."""
        score = self.best_model_score
        return {"score": float(score)} if score is not None and score.isfinite() else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._resumed_score = state_dict["score"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the score if its file is in the run's folder."""
        super().on_train_start(trainer, pl_module)
        path = self.format_checkpoint_name({})
        exists = self.file_exists(path, trainer)  # a collective call
        if exists and self._resumed_score is not None:
            self.best_model_path = self.kth_best_model_path = path
            self.best_model_score = self.current_score = self.kth_value = torch.tensor(self._resumed_score)
            self.best_k_models = {path: self.best_model_score}
