"""Callbacks that end a training whose numbers are not finite, and warn of posterior collapse."""

import logging
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from data.system.errors import TrainingError

_log = logging.getLogger(__name__)
_EVERY = 50
_NEVER = torch.iinfo(torch.int64).max


class NonFiniteGuard(pl.Callback):
    """Ends a training, or leaves out a step, whose loss, gradient or weights are not finite.

    Loss and gradient are looked at on the device; the host asks for the result only now and then, and before each
    checkpoint. Where steps may be skipped it asks in each: one whose gradient is not finite leaves weights, moments and
    running means as they were.

    Args:
        max_skips: how many steps may be skipped; None stops the training at the first.

    Attributes:
        skipped: how many were.
    """

    def __init__(self, max_skips: int | None) -> None:
        self.max_skips, self.skipped = max_skips, 0
        self._first_bad: Tensor | None = None  # () place of the batch, in pictures
        self._before: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = int(state_dict["skipped"])

    def remember(self, pl_module: pl.LightningModule) -> None:
        """Copies what a step changes beside the weights, before it."""
        if self.max_skips is not None and not self._before:
            self._before = [value.clone() for value in _running(pl_module)]

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Notes the place of the first loss that is not finite."""
        if self.max_skips is None:
            self._note(pl_module, loss.detach())

    @torch.no_grad()
    def check_gradient(self, pl_module: pl.LightningModule, norm: Tensor) -> None:
        """Notes the place of the first gradient that is not finite, or makes its step change nothing.

        Args:
            pl_module: whose gradients are about to be applied.
            norm: () theirs; the same on every process.

        Raises:
            TrainingError: more steps than allowed were to be skipped.
        """
        if self.max_skips is None:
            self._note(pl_module, norm)
        elif not norm.isfinite():
            self.skipped += 1
            fault = _fault("gradient", pl_module, _place(pl_module))
            if self.skipped > self.max_skips:
                raise TrainingError(f"{fault}; {self.max_skips} steps were skipped before it")
            _log.warning("%s; it is skipped, number %d of at most %d.", fault, self.skipped, self.max_skips)
            torch._foreach_copy_(_running(pl_module), self._before)
            for weight in pl_module.parameters():
                weight.grad = None
        self._before = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Asks the device now and then."""
        if (batch_idx + 1) % (trainer.log_every_n_steps or _EVERY) == 0:  # type: ignore[attr-defined]
            self._check(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Asks before `best.ckpt` could be written."""
        self._check(trainer, pl_module, weights=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Asks before `last.ckpt` is written."""
        self._check(trainer, pl_module, weights=True)

    def _note(self, pl_module: pl.LightningModule, number: Tensor) -> None:
        bad = torch.where(number.isfinite(), _NEVER, _place(pl_module))
        self._first_bad = bad if self._first_bad is None else torch.minimum(self._first_bad, bad)

    def _check(self, trainer: pl.Trainer, pl_module: pl.LightningModule, weights: bool = False) -> None:
        """Raises `TrainingError` if a loss, a gradient or, where they are asked for, the weights were not finite."""
        if trainer.state.fn != "fit":
            return
        if self._first_bad is not None:
            first = int(trainer.strategy.reduce(self._first_bad, reduce_op="min"))
            if first < _NEVER:
                raise TrainingError(_fault("loss or gradient", pl_module, first))
        if weights and not are_finite(pl_module):
            raise TrainingError(f"the weights are not finite after step {trainer.global_step}")


def _place(module: Any) -> int:
    return module.batch_start


def _fault(what: str, module: Any, place: int) -> str:
    batch = place % module.order.count // module.order.pictures_per_batch
    return f"the {what} is not finite in batch {batch} of epoch {module.current_epoch} (after {place} pictures)"


def _running(module: Any) -> list[Tensor]:
    return [*module.buffers(), *module.train_posterior.metric_state.values()]


def are_finite(module: nn.Module) -> bool:
    """True if all weights are; the device is asked once."""
    return bool(torch.stack([weight.isfinite().all() for weight in module.parameters()]).all())


def is_collapsed(active: Any, latent_dim: int) -> Any:
    """True, a bool or a tensor, if at most a tenth of the latents is active.

    >>> is_collapsed(12, 128), is_collapsed(13, 128), is_collapsed(1, 8)
    (True, False, False)
    """
    return 10 * active <= latent_dim


class CollapseWarning(pl.Callback):
    """Warns of posterior collapse, against which `VAETraining` lowers β step by step."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        active = trainer.callback_metrics.get("val/active_units")
        latent_dim = int(pl_module.vae.latent_dim)  # type: ignore[arg-type, union-attr]
        if active is None or not trainer.is_global_zero or trainer.sanity_checking:
            return
        factor = float(pl_module.beta_factor)  # type: ignore[arg-type]
        if is_collapsed(active, latent_dim):
            _log.warning(
                "Only %d of %d latent dimensions are active: the posterior is collapsing onto the prior. "
                "β falls until more are%s.",
                int(active),
                latent_dim,
                f"; it is at {factor:.3g} of what was planned" if factor < 1 else "",
            )
