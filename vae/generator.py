"""What draws: a VAE, or any other model whose latents are drawn from Normal(0, I)."""

from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from data.rng import check_seed
from vae.model.vae import VAE


class Generator(Protocol):
    """What turns latents into pictures.

    Attributes:
        latent_dim: D.
        image_size: H and W.
        channels: C, 1 or 3.
    """

    latent_dim: int
    image_size: int
    channels: int

    @property
    def device(self) -> torch.device:
        """Where latents should be."""

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) → (N, C, H, W) in [-1, 1]."""

    def zero_inactive(self, values: Tensor) -> Tensor:
        """(…, D) with 0 for latents that say nothing."""


def has_encoder(model: Generator) -> TypeGuard[VAE]:
    """Whether it finds the latents of pictures too, as a VAE does."""
    return hasattr(model, "encode")


def seeded_latents(seed: int, count: int, latent_dim: int) -> Tensor:
    """The first `count` latents (count, D) that a seed draws from the prior; more of them do not change the first."""
    generator = torch.Generator().manual_seed(check_seed(seed))
    return torch.stack([torch.randn(latent_dim, generator=generator) for _ in range(count)])
