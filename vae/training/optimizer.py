"""AdamW (Loshchilov and Hutter, ICLR 2019) with a learning rate of its own for encoder, decoder and discriminator."""

from typing import Any

import torch
from torch import Tensor, nn

from vae.model.discriminator import Discriminator
from vae.model.vae import VAE
from vae.training.options import OptimizerOptions

_BETAS, _DISCRIMINATOR_BETAS = (0.9, 0.99), (0.0, 0.99)
_DISCRIMINATOR_RATE = 0.5  # over the others' learning rate


def build_optimizer(
    vae: VAE, discriminator: Discriminator | None, options: OptimizerOptions, fused: bool
) -> torch.optim.AdamW:
    """AdamW with the parameter groups encoder, decoder and, if there is one, discriminator.

    Args:
        vae: its encoder and decoder learn.
        discriminator: or None.
        options: of AdamW.
        fused: whether it is one kernel for all weights.
    """
    groups: list[dict[str, Any]] = [{"params": part.parameters()} for part in (vae.encoder, vae.decoder)]
    if discriminator is not None:
        groups.append({"params": discriminator.parameters(), "betas": _DISCRIMINATOR_BETAS, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, options.lr, betas=_BETAS, weight_decay=options.weight_decay, fused=fused)


def set_learning_rates(optimizer: torch.optim.Optimizer, lr: float, decoder_phase: bool) -> None:
    """Sets the learning rates of the groups: 0 for the encoder in the decoder's phase, for the discriminator before.

    Args:
        optimizer: from `build_optimizer`, changed in place.
        lr: the decoder's.
        decoder_phase: whether the decoder learns alone.
    """
    rates = (lr * (not decoder_phase), lr, lr * decoder_phase * _DISCRIMINATOR_RATE)
    for group, rate in zip(optimizer.param_groups, rates, strict=False):
        group["lr"] = rate


def clip_gradients(parts: list[nn.Module | None], max_norm: float | None) -> Tensor:
    """Clips the gradients of each part to a norm of its own; None or 0 leaves them.

    Returns:
        () the sum of the norms before, which is finite if all of them are.
    """
    norms = []
    for part in parts:
        weights = [weight for weight in part.parameters() if weight.grad is not None] if part is not None else []
        if weights:
            norms.append(torch.nn.utils.get_total_norm([weight.grad for weight in weights]))  # type: ignore[misc]
            if max_norm:
                torch.nn.utils.clip_grads_with_norm_(weights, max_norm, norms[-1])
    return torch.stack(norms).sum()
