"""The evidence lower bound (ELBO), and the training objective.

    ELBO(x) = E_q(z|x)[log p(x|z)] − KL(q(z|x) ‖ p(z)) ≤ log p(x)          (Kingma and Welling 2014, eq. 3)

in nats per image, with q(z|x) = Normal(mu, exp(logvar)) and the prior p(z) = Normal(0, I). Training may weight the two
terms differently; the logged number is always the bound itself.
"""

import math
from typing import NamedTuple

from torch import Tensor


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(Normal(mu, exp(logvar)) ‖ Normal(0, 1)) for each dimension, in nats (Kingma and Welling 2014, appendix B).

    Args:
        mu: (N, D).
        logvar: (N, D).

    Returns:
        (N, D), each at least 0.
    """
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


class Elbo(NamedTuple):
    """The two terms of the bound, in nats per image.

    Attributes:
        reconstruction: (N,) log p(x|z).
        kl: (N, D) the KL divergence of each latent dimension.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def value(self) -> Tensor:
        """(N,) reconstruction − KL."""
        return self.reconstruction - self.kl.sum(1)


def anneal(start: float, end: float, progress: float) -> float:
    """The weight β at a time of its schedule from `start` to `end`.

    It is linear if it starts or ends at 0 (KL warm-up, Bowman 2016), else geometric.

    Args:
        start: β at progress 0.
        end: β from progress 1 on.
        progress: of the schedule, in [0, 1]; numbers outside count as the nearer end.

    >>> [anneal(0, 2, p) for p in (0, 0.5, 1, 3)]
    [0.0, 1.0, 2.0, 2.0]
    >>> round(anneal(100, 1, 0.5), 6)
    10.0
    """
    progress = min(max(progress, 0.0), 1.0)
    if start <= 0 or end <= 0:
        return float(start + (end - start) * progress)
    return float(start * (end / start) ** progress)


def bits_per_dim(nats: Tensor, dims: int) -> Tensor:
    """Bits per dimension: −log₂ p(x) / dims of 8-bit pixels.

    The density of pixels in [-1, 1] becomes one of 8-bit values by the change of variables x = level/127.5 − 1.

    Args:
        nats: log density (or a bound on it) of images in [-1, 1], any shape.
        dims: C · H · W.

    >>> import torch
    >>> round(float(bits_per_dim(torch.tensor(-10 * math.log(2)), 10)), 2)  # the uniform density on [-1, 1]
    7.99
    """
    return (dims * math.log(127.5) - nats) / (dims * math.log(2))
