"""`ExponentialMovingAverage` of the weights, which validation and checkpoints use in place of the last ones."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn


class ExponentialMovingAverage(WeightAveraging):
    """Average ← decay · average + (1 − decay) · weights after each step, from the weights of the first one on.

    Buffers are copied: flags are no fractions, and what is a running statistic follows the weights already.

    Lightning's, but it does not gather the weights in each step, nor ask the device whether this is the first one.

    Args:
        device: where the average is kept.
        decay: how slowly it follows, in [0, 1).
    """

    def __init__(self, device: torch.device, decay: float) -> None:
        super().__init__(device)
        self.decay = decay
        self._averages: list[Tensor] = []
        self._weights: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._buffers: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gathers the weights, which are on their device by now."""
        assert self._average_model is not None
        average: nn.Module = self._average_model.module
        self._averages, self._weights = list(average.parameters()), list(pl_module.parameters())
        self._copies, self._buffers = list(average.buffers()), list(pl_module.buffers())

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Follows the weights if the batch has changed them."""
        if trainer.global_step > self._latest_update_step:
            share = 1 - self.decay if trainer.global_step > 1 else 1.0
            torch._foreach_lerp_(self._averages, self._weights, share)
            torch._foreach_copy_(self._copies, self._buffers)
            self._latest_update_step = trainer.global_step
