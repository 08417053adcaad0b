"""What draws: a VAE, or any other model whose latents are drawn from Normal(0, I)."""

from typing import Protocol

import torch
from torch import Tensor


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
