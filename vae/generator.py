"""Models that decode latents: a VAE, or any other whose latents are drawn from Normal(0, I)."""

from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from data.rng import check_seed
from vae.model.vae import VAE


class Generator(Protocol):
    """A model that turns latents into pictures.

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
        """The device of the latents that `decode` and `zero_inactive` take."""

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) → (N, C, H, W) in [-1, 1]."""

    def zero_inactive(self, values: Tensor) -> Tensor:
        """(…, D) with 0 for inactive latents."""


def has_encoder(model: Generator) -> TypeGuard[VAE]:
    """True if it encodes pictures too, as a VAE does."""
    return hasattr(model, "encode")


def seeded_latents(seed: int, count: int, latent_dim: int) -> Tensor:
    """The first `count` latents (count, D) that a seed draws from the prior; more of them do not change the first."""
    generator = torch.Generator().manual_seed(check_seed(seed))
    return torch.stack([torch.randn(latent_dim, generator=generator) for _ in range(count)])


def zero_inactive(model: Generator, z: Tensor) -> Tensor:
    """Latents (…, D) on their own device, with 0 for the model's inactive ones."""
    return model.zero_inactive(z.to(model.device)).to(z.device)


def prior_latents(model: Generator, seed: int, count: int, truncation: float = 1.0) -> Tensor:
    """The first latents (count, D) that a seed draws, on the CPU, see `VAE.random_latents`.

    Truncation multiplies them: less than 1 is closer to the mean picture (Karras 2019, appendix B).
    """
    noise = seeded_latents(seed, count, model.latent_dim)
    carried = model.random_latents if has_encoder(model) else model.zero_inactive
    with torch.no_grad():
        z = torch.cat([carried(one.to(model.device)).to(noise.device) for one in torch.split(noise, 1)])
    return truncation * z
