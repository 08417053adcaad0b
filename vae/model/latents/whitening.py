"""Whitening: coordinates of the latents in which the codes of the training pictures have the prior's moments.

An encoder leaves its codes in some directions of the latent space and none in others; random latents then decode to
pictures of nothing. Of the mean m and the covariance S of the codes μ(x), and the mean N = E_x σ²(x) of the posterior's
variances, which is diagonal, take N^(−1/2) S N^(−1/2) = U Λ Uᵀ. Then

    z' = (I + Λ)^(−1/2) Uᵀ N^(−1/2) (z − m)

has mean 0 and covariance I over the aggregate posterior, as the prior has, so that samples and great circles stay where
the codes are. The posterior stays diagonal on average, with variances 1 / (1 + Λ): Λ is how much a latent says over how
uncertain it is, and latents come sorted by it. The decoder undoes the map before its first layer.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vae.model.autocast import without_autocast


class Whitening(nn.Module):
    """The map of latents to those coordinates and back; the identity until `fit` was called.

    Attributes:
        fitted: () 1 if it is of the codes as they are now.
        mean: (D,) m.
        weight: (D, D) (I + Λ)^(−1/2) Uᵀ N^(−1/2).
        inverse: (D, D) N^(1/2) U (I + Λ)^(1/2).
    """

    fitted: Tensor
    mean: Tensor
    weight: Tensor
    inverse: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("fitted", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("weight", torch.zeros(latent_dim, latent_dim).fill_diagonal_(1))
        self.register_buffer("inverse", torch.zeros(latent_dim, latent_dim).fill_diagonal_(1))

    def forward(self, mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior in the new coordinates, (N, D) each; its covariance's diagonal alone is kept."""
        with without_autocast(mu.device):
            variance = logvar.float().exp() @ self.weight.square().T
            return self.whitened(mu), variance.log()

    def whitened(self, z: Tensor) -> Tensor:
        """Latents (N, D) in the new coordinates."""
        with without_autocast(z.device):
            return (z.float() - self.mean) @ self.weight.T

    def undo(self, z: Tensor) -> Tensor:
        """Latents (N, D) in the coordinates before."""
        with without_autocast(z.device):
            return self.mean + z.float() @ self.inverse.T

    @torch.no_grad()
    def fit(self, posteriors: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Takes the moments of posteriors `mu` and `logvar`, (N, D) each in every batch, in the coordinates before."""
        mu, logvar = (torch.cat(parts).double().cpu() for parts in zip(*posteriors, strict=True))
        mean, noise = mu.mean(0), logvar.exp().mean(0).sqrt()
        ratios, directions = torch.linalg.eigh(torch.cov(((mu - mean) / noise).T, correction=0).reshape(len(noise), -1))
        scales = (1 + ratios.flip(0).clamp_min(0)).sqrt()
        directions = directions.flip(1)
        directions *= directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()  # either sign would do
        self.mean.copy_(mean)
        self.weight.copy_((directions / scales).T / noise)
        self.inverse.copy_(noise[:, None] * directions * scales)
        self.fitted.fill_(1)
