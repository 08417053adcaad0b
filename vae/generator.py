"""What draws: a VAE, or any other model whose latents are drawn from Normal(0, I)."""

from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from vae.model import VAE


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

    def awake(self, values: Tensor) -> Tensor:
        """(…, D) with 0 for latents that say nothing."""


def has_encoder(model: Generator) -> TypeGuard[VAE]:
    """Whether it finds the latents of pictures too, as a VAE does."""
    return hasattr(model, "encode")
