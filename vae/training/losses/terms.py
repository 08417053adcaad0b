"""The terms of the loss: training minimises their sum, in nats per dimension (C·H·W) of a picture.

The first two are the negative ELBO with a weight on the KL. `vae.training.losses.objective` has the list of all.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vae.model.autocast import without_autocast
from vae.model.distributed import all_mean
from vae.model.elbo import Elbo
from vae.model.vae import VAE

_MOMENTUM = 0.95  # of the running moments


@dataclass(frozen=True)
class LossInputs:
    """The results of one batch that the terms are computed from.

    Attributes:
        vae: the model.
        x: (N, C, H, W) pictures in [-1, 1].
        mu: (N, D) mean of the posterior.
        logvar: (N, D) its log variance.
        elbo: log p(x|z) (N,) and the KL of each dimension (N, D), in nats.
        logits: (N, C, H, W) of the reconstructions, see `Decoder.logits`.
        generated_z: (M, D) latents on paths between codes, and samples from the prior; M is 0 while no term uses them.
        generated_logits: (M, C, H, W) of their pictures.
        beta: () the current weight of the KL.
        step: number of optimizer steps before this one.
        phase_progress: the share of the decoder's phase that is done.
        generator: of more noise; in the same state on all processes.
    """

    vae: VAE
    x: Tensor
    mu: Tensor
    logvar: Tensor
    elbo: Elbo
    logits: Tensor
    generated_z: Tensor
    generated_logits: Tensor
    beta: Tensor
    step: int
    phase_progress: float
    generator: torch.Generator


class LossTerm(nn.Module):
    """A summand of the loss.

    Attributes:
        name: its key in checkpoints.
        decoder_phase: True for a term of the phase in which the decoder alone learns, False for one of the phase before
            it, None for both.
    """

    name: ClassVar[str]
    decoder_phase: ClassVar[bool | None] = None

    @abstractmethod
    def forward(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """() nats per dimension, weighted; and the numbers to log, below `train/`."""


def gradient_ratio(batch: LossInputs, gradient: Tensor) -> Tensor:
    """() how much stronger the likelihood draws a reconstruction than gradients by logits (M, C, H, W) would.

    ‖∇ reconstruction‖ / ‖gradient‖, each norm the mean over pictures (as in Esser 2021, eq. 7, by the last layer's
    weights): times a weight, a term draws the decoder alike whatever the pictures and the likelihood.
    """
    reconstruction = -batch.elbo.reconstruction.sum() / batch.vae.dims
    (usual,) = torch.autograd.grad(reconstruction, batch.logits, retain_graph=True)
    norms = torch.stack([each.flatten(1).norm(dim=1).mean() for each in (usual, gradient)])
    usual_norm, norm = all_mean(norms)
    return usual_norm / norm.clamp_min(1e-12)


class Reconstruction(LossTerm):
    """−E[log p(x|z)] (Kingma and Welling 2014, eq. 3)."""

    name = "reconstruction"

    def forward(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """No numbers of its own to log: they are the ELBO's."""
        return -batch.elbo.reconstruction.mean() / batch.vae.dims, {}


class KLDivergence(LossTerm):
    """β · Σ_k max(E[KL_k], λ) (Higgins 2017, eq. 4; Kingma 2016, appendix C.8).

    Args:
        free_bits: λ, nats that a dimension may use at no cost.
    """

    name = "kl"

    def __init__(self, free_bits: float) -> None:
        super().__init__()
        self.free_bits = free_bits

    def forward(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """No numbers of its own to log: they are the ELBO's, and β."""
        kl = batch.elbo.kl.mean(0)
        if self.free_bits:
            kl = all_mean(kl).clamp_min(self.free_bits)
        return batch.beta * kl.sum() / batch.vae.dims, {}


class MomentMatching(LossTerm):
    """‖E[z zᵀ] − I‖² + 2‖E[z]‖² of the aggregate posterior q(z) = E_x q(z|x), which are 0 for the prior.

    DIP-VAE-II (Kumar, Sattigeri and Balakrishnan, ICLR 2018, eq. 7). Second moments alone do not distinguish a
    dimension with the prior's variance from a constant 1, so the mean is matched too. Near the prior this is
    4 KL(Normal with these moments ‖ prior).

    Args:
        latent_dim: D.
        weight: of the term.

    Attributes:
        mean: (D,) running mean E[z]: the moments of one batch alone are noisy.
        second: (D, D) running E[z zᵀ].
    """

    name = "moment_matching"
    decoder_phase = False
    mean: Tensor
    second: Tensor

    def __init__(self, latent_dim: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("second", torch.eye(latent_dim))

    def forward(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """A number with the gradient, not the value, of the formula."""
        return self.weight * self.surrogate(batch.mu, batch.logvar) / batch.vae.dims, {}

    def surrogate(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """() a number whose gradient is the formula's at the running moments, passed on to this batch.

        Args:
            mu: (N, D).
            logvar: (N, D).
        """
        with without_autocast(mu.device):
            mean, second = mu.mean(0), mu.T @ mu / len(mu) + logvar.exp().mean(0).diag()
        with torch.no_grad():
            whole = all_mean(torch.cat([mean[None], second]))
            self.mean.lerp_(whole[0], 1 - _MOMENTUM)
            self.second.lerp_(whole[1:], 1 - _MOMENTUM)
            excess = self.second - torch.eye(len(second), device=second.device)
        return 2 * (excess * second).sum() + 4 * (self.mean * mean).sum()
