"""Matching the aggregate posterior to the prior (DIP-VAE-II, Kumar, Sattigeri and Balakrishnan, ICLR 2018, eq. 7).

Second moments alone do not tell a dimension that fills the prior from one that stands still at 1: the mean belongs to
them.
"""

import torch
from torch import Tensor, nn

from vae.model.distributed import all_mean

_MEMORY = 0.95


class MomentMatching(nn.Module):
    """The first two moments of q(z) = E_x q(z|x) and their distance from the prior's.

    Attributes:
        mean: (D,) E[z], a running mean like the other: one batch alone says little.
        second: (D, D) E[z zᵀ].
    """

    mean: Tensor
    second: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("second", torch.eye(latent_dim))

    def forward(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """() a number whose gradient is that of ‖E[z zᵀ] − I‖² + 2‖E[z]‖² at the running means, passed to this batch.

        Near the prior that distance is 4 KL(Normal with these moments ‖ prior).

        Args:
            mu: (N, D).
            logvar: (N, D).
        """
        with torch.autocast(mu.device.type, enabled=False):
            mean, second = mu.mean(0), mu.T @ mu / len(mu) + logvar.exp().mean(0).diag()
        with torch.no_grad():
            whole = all_mean(torch.cat([mean[None], second]))
            self.mean.lerp_(whole[0], 1 - _MEMORY)
            self.second.lerp_(whole[1:], 1 - _MEMORY)
            excess = self.second - torch.eye(len(second), device=second.device)
        return 2 * (excess * second).sum() + 4 * (self.mean * mean).sum()
