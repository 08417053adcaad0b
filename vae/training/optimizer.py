"""The optimizer: `MuonAdamW`, with learning rates of their own for encoder, decoder and discriminator."""

from typing import Any

import torch
from torch import Tensor, nn

from vae.model.discriminator import Discriminator
from vae.model.vae import VAE
from vae.training.muon import MuonAdamW
from vae.training.options import OptimizerOptions

_BETAS, _DISCRIMINATOR_BETAS = (0.9, 0.99), (0.0, 0.99)
_DISCRIMINATOR_RATE, _MUON_RATE = 2.0, 20.0  # over the learning rate


def build_optimizer(vae: VAE, discriminator: Discriminator | None, options: OptimizerOptions, fused: bool) -> MuonAdamW:
    """The optimizer: Muon for convolutions, AdamW (Loshchilov and Hutter, ICLR 2019) for all else.

    So a discriminator tells pictures from reconstructions after 50 steps; with AdamW alone it needs some 400. The
    groups have a `part` (encoder, decoder or, if there is one, discriminator) and a `rate` over the learning rate.

    Args:
        vae: its encoder and decoder learn.
        discriminator: or None.
        options: of both.
        fused: whether AdamW is one kernel for all weights.
    """
    parts: dict[str, tuple[nn.Module, dict[str, Any]]] = {"encoder": (vae.encoder, {}), "decoder": (vae.decoder, {})}
    if discriminator is not None:
        parts["discriminator"] = (discriminator, {"betas": _DISCRIMINATOR_BETAS, "weight_decay": 0.0})
    groups: list[dict[str, Any]] = []
    for part, (module, own) in parts.items():
        for muon in (True, False):
            chosen = [weight for weight in module.parameters() if (weight.ndim == 4 and len(weight) > 1) == muon]
            rate = _MUON_RATE if muon else _DISCRIMINATOR_RATE if part == "discriminator" else 1.0
            groups.append({"params": chosen, "part": part, "muon": muon, "rate": rate, **own})
    return MuonAdamW(groups, options.lr, betas=_BETAS, weight_decay=options.weight_decay, fused=fused)


def set_learning_rates(optimizer: torch.optim.Optimizer, lr: float, decoder_phase: bool) -> None:
    """Sets the learning rates of the groups: 0 for the encoder in the decoder's phase, for the discriminator before.

    Args:
        optimizer: from `build_optimizer`, changed in place.
        lr: of AdamW.
        decoder_phase: whether the decoder learns alone.
    """
    learns = {"encoder": not decoder_phase, "decoder": True, "discriminator": decoder_phase}
    for group in optimizer.param_groups:
        group["lr"] = lr * group["rate"] * learns[group["part"]]


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
