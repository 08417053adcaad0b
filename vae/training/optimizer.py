"""AdamW (Loshchilov and Hutter, ICLR 2019) with a learning rate of its own for each of the three that learn."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vae.model.discriminator import Discriminator
from vae.model.vae import VAE
from vae.training.schedule import Schedule

_BETAS, _CRITIC_BETAS = (0.9, 0.99), (0.0, 0.99)
_CRITIC_LR = 0.5  # over the others' learning rate


def optimizers(
    vae: VAE, critic: Discriminator | None, schedule: Schedule, recipe: Any, fused: bool, progress: Callable[[], float]
) -> dict[str, Any]:
    """The dict for `LightningModule.configure_optimizers`.

    Args:
        vae: its encoder and decoder learn.
        critic: or None.
        schedule: says when who learns, and how fast.
        recipe: `lr` and `weight_decay`.
        fused: whether AdamW takes one kernel for all weights.
        progress: of the training, in [0, 1].
    """
    groups: list[dict[str, Any]] = [{"params": part.parameters()} for part in (vae.encoder, vae.decoder)]
    if critic is not None:
        groups.append({"params": critic.parameters(), "betas": _CRITIC_BETAS, "weight_decay": 0.0})
    adamw = torch.optim.AdamW(groups, recipe.lr, betas=_BETAS, weight_decay=recipe.weight_decay, fused=fused)

    def rate(step: int) -> float:
        return schedule.learning_rate(progress(), step)

    rates: list[Callable[[int], float]] = [
        lambda step: rate(step) * (not schedule.decoder_phase(progress())),
        rate,
        lambda step: rate(step) * schedule.decoder_phase(progress()) * _CRITIC_LR,
    ]
    falling = torch.optim.lr_scheduler.LambdaLR(adamw, rates[: len(groups)])
    return {"optimizer": adamw, "lr_scheduler": {"scheduler": falling, "interval": "step"}}


def clip(parts: list[nn.Module | None], norm: float | None) -> Tensor:
    """Clips the gradients of each part to a norm of its own; None or 0 leaves them.

    Returns:
        () the sum of the norms that were found, which is finite if all of them are.
    """
    found = []
    for part in parts:
        weights = [weight for weight in part.parameters() if weight.grad is not None] if part is not None else []
        if weights:
            found.append(torch.nn.utils.get_total_norm([weight.grad for weight in weights]))  # type: ignore[misc]
            if norm:
                torch.nn.utils.clip_grads_with_norm_(weights, norm, found[-1])
    return torch.stack(found).sum()
