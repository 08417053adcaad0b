"""Matching the aggregate posterior to the prior (DIP-VAE-II, Kumar, Sattigeri and Balakrishnan, ICLR 2018, eq. 7)."""

import torch
from torch import Tensor, nn

_MEMORY = 0.95


class Moments(nn.Module):
    """The second moment of q(z) = E_x q(z|x) and its distance from the prior's, the unit matrix.

    Attributes:
        second_moment: (D, D), a running mean: one batch alone says little.
    """

    second_moment: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("second_moment", torch.eye(latent_dim))

    def forward(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """() a number whose gradient is that of ‖M − I‖², M the running E[z zᵀ] with this batch taken in.

        Args:
            mu: (N, D).
            logvar: (N, D).
        """
        batch = mu.T @ mu / len(mu) + logvar.exp().mean(0).diag()
        with torch.no_grad():
            self.second_moment.lerp_(batch, 1 - _MEMORY)
            excess = self.second_moment - torch.eye(len(batch), device=batch.device)
        return 2 * (excess * batch).sum()
