"""Likelihoods p(x|z): the decoder's distribution over pictures. log p(x|z) is the reconstruction term of the ELBO.

The scale σ of a likelihood is fixed or calibrated. A calibrated one is the same for all pixels (the wavelet likelihood
has two) and has its maximum-likelihood value given the errors (Rybkin, Daniilidis and Levine, *Simple and Effective VAE
Training with Calibrated Decoders*, ICML 2021, eq. 6). In training mode that is the value of the batch; in eval mode it
is the running average, so that a measurement on held-out pictures is the log density of one fixed distribution.

A new likelihood is a class, its name in `LikelihoodName`, and a row of `LIKELIHOODS`.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.system.errors import UserError
from vae.model.distributed import all_mean
from vae.model.networks import squash

_QUANTIZATION = 2 / 255 / math.sqrt(12)  # standard deviation of the rounding to 8 bits, the least calibrated scale
LikelihoodName = Literal["wavelet", "gaussian", "laplace", "bernoulli"]


class Likelihood(nn.Module):
    """A distribution over pictures x, given the decoder's logits.

    Attributes:
        density: whether p(x|z) is a density over pixel values, so that bits per dimension are defined.
        scale: () the current σ, of a Laplace distribution b, on pixels in [-1, 1]; NaN if there is none.
    """

    density: bool = True
    scale: Tensor

    @abstractmethod
    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        """The log likelihood of pictures, in nats per image.

        Args:
            logits: (N, C, H, W), see `vae.model.networks.Decoder.logits`.
            x: (N, C, H, W) in [-1, 1].

        Returns:
            (N,) log p(x|z), summed over pixels and channels.
        """


class _ScaledLikelihood(Likelihood):
    """A likelihood with a scale: fixed to `sigma`, or calibrated where that is None."""

    def __init__(self, sigma: float | None) -> None:
        super().__init__()
        if sigma is not None and sigma <= 0:
            raise UserError(f"sigma {sigma}: must be positive, or null to calibrate it")
        self.calibrated = sigma is None
        self.register_buffer("scale", torch.tensor(1.0 if sigma is None else sigma))

    def _calibrate(self, running: Tensor, errors: Tensor, power: int) -> Tensor:
        """The present scale, (): in training mode, where it is calibrated, that of the batch; else the running average.

        Args:
            running: () the running average; it is updated in place.
            errors: (N, dims) the absolute errors to the power.
            power: 1 or 2; the scale is (E errors)^(1/power).
        """
        if not (self.calibrated and self.training):
            return running
        batch_scale = all_mean(errors.mean()) ** (1 / power)
        scale = torch.hypot(batch_scale, torch.full_like(batch_scale, _QUANTIZATION))
        with torch.no_grad():
            running.lerp_(scale.detach(), 0.02)
        return scale


def _normal_log_prob(squared: Tensor, sigma: Tensor) -> Tensor:
    """Σ log Normal(error; 0, σ²) of squared errors: (N, dims) → (N,)."""
    return -0.5 * squared.sum(1) / sigma**2 - squared.shape[1] * (sigma.log() + 0.5 * math.log(2 * math.pi))


class Gaussian(_ScaledLikelihood):
    """Normal(decode(z), σ²) for each pixel."""

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        squared = (x - squash(logits)).square().flatten(1)
        return _normal_log_prob(squared, self._calibrate(self.scale, squared, 2))


class Laplace(_ScaledLikelihood):
    """Laplace(decode(z), b) for each pixel: large errors, as at sharp edges, cost less than with a Gaussian."""

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        absolute = (x - squash(logits)).abs().flatten(1)
        b = self._calibrate(self.scale, absolute, 1)
        return -absolute.sum(1) / b - absolute.shape[1] * (2 * b).log()


class Bernoulli(Likelihood):
    """Bernoulli((decode(z) + 1)/2) for each pixel: the cross entropy; a distribution of black-and-white pictures."""

    density = False

    def __init__(self, sigma: float | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(math.nan))

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(logits, (x + 1) / 2, reduction="none").flatten(1).sum(1)


def haar(x: Tensor) -> tuple[Tensor, Tensor]:
    """One level of the orthonormal Haar wavelet transform.

    Args:
        x: (N, C, H, W), even sides.

    Returns:
        details (N, 3·C·H·W/4) and means (N, C·H·W/4) of blocks of 2×2 pixels, times 2; the sum of squares is that of
        x.
    """
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    details = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], 1)
    return details.flatten(1) / 2, (a + b + c + d).flatten(1) / 2


class Wavelet(_ScaledLikelihood):
    """Normal(decode(z), σ²) in the Haar basis, with one σ for all details and one for all means.

    Attributes:
        scales: (2,) σ of the details and of the means; `scale` is their root mean square over all pixels.
    """

    scales: Tensor

    def __init__(self, sigma: float | None) -> None:
        super().__init__(sigma)
        self.register_buffer("scales", torch.tensor([1.0 if sigma is None else sigma] * 2))

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for running, band in zip(self.scales, haar(x - squash(logits)), strict=True):
            squared = band.square()
            total = total + _normal_log_prob(squared, self._calibrate(running, squared, 2))
        with torch.no_grad():
            details, means = self.scales.square()
            self.scale.copy_((0.75 * details + 0.25 * means).sqrt())
        return total


LIKELIHOODS: dict[LikelihoodName, Callable[[float | None], Likelihood]] = {
    "wavelet": Wavelet,
    "gaussian": Gaussian,
    "laplace": Laplace,
    "bernoulli": Bernoulli,
}


def build_likelihood(name: LikelihoodName, sigma: float | None = None) -> Likelihood:
    """The likelihood of that name.

    Args:
        name: one of `LIKELIHOODS`.
        sigma: a fixed scale on pixels in [-1, 1], which bernoulli ignores; None calibrates it.

    Raises:
        UserError: unknown name, or a scale that is not positive.
    """
    if name not in LIKELIHOODS:
        raise UserError(f"likelihood {name!r}: must be {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name](sigma)
