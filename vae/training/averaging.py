"""`ExponentialMovingAverage` of the weights, which validation and checkpoints use in place of the last ones."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

_WARMUP = 9  # steps


class ExponentialMovingAverage(WeightAveraging):
    """Average ← d · average + (1 − d) · weights after step n, with d = min(decay, n / (n + 9)), n from 0.

    So the average of a short training does not remember how it began.

    Buffers are copied: flags are no fractions, and what is a running statistic follows the weights already. So are
    weights that are not learned in steps.

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
        self._originals: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gathers the weights, which are on their device by now."""
        assert self._average_model is not None
        average: nn.Module = self._average_model.module
        self._averages, self._weights = _by_learning(average, True), _by_learning(pl_module, True)
        self._copies = [*_by_learning(average, False), *average.buffers()]
        self._originals = [*_by_learning(pl_module, False), *pl_module.buffers()]

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Follows the weights if the batch has changed them."""
        if trainer.global_step > self._latest_update_step:
            step = trainer.global_step - 1
            share = 1 - min(self.decay, step / (step + _WARMUP))
            torch._foreach_lerp_(self._averages, self._weights, share)
            torch._foreach_copy_(self._copies, self._originals)
            self._latest_update_step = trainer.global_step


def _by_learning(module: nn.Module, learned: bool) -> list[Tensor]:
    """The weights that are learned in steps, or the others."""
    return [weight for weight in module.parameters() if weight.requires_grad == learned]
