"""Numbers about a model: whether its latents are used, fill the prior and decode to pictures like the data."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from vae.inference import decode_all, encode_means
from vae.metrics.smoothness import gradient_energy
from vae.model.elbo import kl_divergence
from vae.model.vae import VAE

_ACTIVE = 0.01


class LatentHealth(NamedTuple):
    """The aggregate posterior q(z) = E_x q(z|x), compared with the prior Normal(0, I).

    Attributes:
        active_units: () latents that are used: Var_x(mu_k) > 0.01 (Burda 2016, section 5.2).
        aggregate_mean: () ‖E_x mu‖ / √active units. 0 is the prior's.
        aggregate_variance: () Var_x(mu_k) + E_x exp(logvar_k), the mean over active units. 1 is the prior's; above it,
            samples from the prior miss what was learned.
        kl: (D,) E_x KL_k, nats, in descending order.
    """

    active_units: Tensor
    aggregate_mean: Tensor
    aggregate_variance: Tensor
    kl: Tensor


class AggregatePosterior(Metric):
    """`LatentHealth` over any number of batches and devices."""

    full_state_update = False
    mean: Tensor
    square: Tensor
    variance: Tensor
    kl: Tensor
    count: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        for name in ("mean", "square", "variance", "kl"):
            self.add_state(name, torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, mu: Tensor, logvar: Tensor) -> None:
        """Adds posteriors, (N, D) each."""
        self.mean += mu.sum(0)
        self.square += mu.square().sum(0)
        self.variance += logvar.exp().sum(0)
        self.kl += kl_divergence(mu, logvar).sum(0)
        self.count += len(mu)

    def compute(self) -> LatentHealth:
        """The numbers over all batches; where no unit is active, the means are over all of them."""
        mean = self.mean / self.count
        spread = (self.square / self.count - mean.square()).clamp_min(0)
        active = spread > _ACTIVE
        counted = active if active.any() else ~active
        variance = (spread + self.variance / self.count)[counted].mean()
        kl = (self.kl / self.count).sort(descending=True).values
        return LatentHealth(active.sum().float(), mean[counted].square().mean().sqrt(), variance, kl)


class PictureHealth(NamedTuple):
    """Sharpness and saturation of decoded pictures over those of the data, each () and 1 where they are equal.

    Attributes:
        reconstruction_sharpness: the gradient energy of reconstructions over that of the pictures.
        sample_sharpness: the gradient energy of samples from the prior over that of the pictures.
        sample_saturation: the same of saturation, max − min of a pixel's channels; nan for grey pictures.
    """

    reconstruction_sharpness: Tensor
    sample_sharpness: Tensor
    sample_saturation: Tensor


def saturation(x: Tensor) -> Tensor:
    """Mean distance of a pixel's strongest and weakest channel: (…, C, H, W) → (…)."""
    return (x.amax(-3) - x.amin(-3)).mean((-2, -1))


@torch.no_grad()
def picture_health(vae: VAE, pictures: Tensor, latents: Tensor) -> PictureHealth:
    """Compares reconstructions, and decoded latents (M, D) from the prior, with pictures (N, C, H, W) in [-1, 1]."""
    samples, energy = decode_all(vae, latents), gradient_energy(pictures).mean()
    sharpness = gradient_energy(decode_all(vae, encode_means(vae, pictures))).mean() / energy
    return PictureHealth(
        sharpness, gradient_energy(samples).mean() / energy, saturation(samples).mean() / saturation(pictures).mean()
    )
