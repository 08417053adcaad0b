"""Latents that no likelihood sees: what lies between codes, and the prior's draws."""

import torch
from torch import Tensor

from vae.latent.paths import slerp


def midpoints_and_samples(mu: Tensor, generator: torch.Generator) -> Tensor:
    """Latents (N, D) whose pictures nobody has seen: half on great circles between codes, half from the prior.

    Args:
        mu: (N, D), the codes of a batch.
        generator: where the places on the paths and the prior's draws come from.
    """
    half = (len(mu) - 1) // 2
    places = torch.arange(half, device=mu.device) + torch.rand(half, generator=generator, device=mu.device)
    between = slerp(mu, places) if half else mu[:0]
    prior = torch.randn(mu[half:].shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return torch.cat([between, prior])
