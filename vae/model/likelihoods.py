"""p(x|z): the decoder's distribution over pictures; its log density is the ELBO's reconstruction term.

A calibrated likelihood has one scale for all pixels (the wavelet one for all details and one for all means), set to its
maximum-likelihood value given the residuals (Rybkin, Daniilidis and Levine, *Simple and Effective VAE Training with
Calibrated Decoders*, ICML 2021, eq. 6). While training it is the batch's own; from then on it is the running value, so
that what is measured on held-out pictures is the log density of one fixed distribution.
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

_QUANTIZATION = 2 / 255 / math.sqrt(12)  # σ of what 8 bits do not say, which no calibrated scale falls below
LikelihoodName = Literal["wavelet", "gaussian", "laplace", "bernoulli"]


class Likelihood(nn.Module):
    """log p(x|z) of pictures x given the decoder's logits.

    Attributes:
        density: whether log p is a density over pixel values, so that bits per dimension are defined.
        scale: (), the current σ or b (laplace) on pixels in [-1, 1].
    """

    density: bool = True
    scale: Tensor

    @abstractmethod
    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        """Nats per image.

        Args:
            logits: (N, C, H, W), `Decoder.logits` of the latents.
            x: (N, C, H, W) in [-1, 1].

        Returns:
            (N,) log p(x|z), summed over pixels and channels.
        """


class _Scaled(Likelihood):
    def __init__(self, sigma: float | None) -> None:
        super().__init__()
        if sigma is not None and sigma <= 0:
            raise UserError(f"sigma {sigma}: must be positive, or null to calibrate it")
        self.calibrated = sigma is None
        self.register_buffer("scale", torch.tensor(1.0 if sigma is None else sigma))

    def _calibrate(self, running: Tensor, errors: Tensor, power: int) -> Tensor:
        """The scale to use: while training, the maximum-likelihood one of the whole batch, which `running` follows.

        Args:
            running: () the scale of the pictures so far.
            errors: (N, dims), to the power.
            power: 1 or 2; the scale is (E errors)^(1/power).
        """
        if not (self.calibrated and self.training):
            return running
        batch_scale = all_mean(errors.mean()) ** (1 / power)
        scale = torch.hypot(batch_scale, torch.full_like(batch_scale, _QUANTIZATION))
        with torch.no_grad():
            running.lerp_(scale.detach(), 0.02)
        return scale


def _normal(squared: Tensor, sigma: Tensor) -> Tensor:
    """Σ log Normal(error; 0, σ²) over squared errors (N, dims): (N,)."""
    return -0.5 * squared.sum(1) / sigma**2 - squared.shape[1] * (sigma.log() + 0.5 * math.log(2 * math.pi))


class Gaussian(_Scaled):
    """Normal(decode(z), σ²) for each pixel."""

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        squared = (x - squash(logits)).square().flatten(1)
        return _normal(squared, self._calibrate(self.scale, squared, 2))


class Laplace(_Scaled):
    """Laplace(decode(z), b) for each pixel: kinder to sharp edges than a Gaussian."""

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        absolute = (x - squash(logits)).abs().flatten(1)
        b = self._calibrate(self.scale, absolute, 1)
        return -absolute.sum(1) / b - absolute.shape[1] * (2 * b).log()


class Bernoulli(Likelihood):
    """Bernoulli(brightness) for each pixel: the cross entropy, exact for black-and-white pictures."""

    density = False

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(math.nan))

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(logits, (x + 1) / 2, reduction="none").flatten(1).sum(1)


def haar(x: Tensor) -> tuple[Tensor, Tensor]:
    """One octave of the orthonormal Haar transform.

    Args:
        x: (N, C, H, W), even sides.

    Returns:
        details (N, 3·C·H·W/4) and means (N, C·H·W/4) of blocks of 2×2 pixels, twice as large; the sum of all squares
        is that of x.
    """
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    details = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], 1)
    return details.flatten(1) / 2, (a + b + c + d).flatten(1) / 2


class Wavelet(_Scaled):
    """Normal in the Haar basis, with one σ for the details and one for the means."""

    scales: Tensor

    def __init__(self, sigma: float | None) -> None:
        super().__init__(sigma)
        self.register_buffer("scales", torch.tensor([1.0 if sigma is None else sigma] * 2))

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for running, band in zip(self.scales, haar(x - squash(logits)), strict=True):
            squared = band.square()
            total = total + _normal(squared, self._calibrate(running, squared, 2))
        with torch.no_grad():
            details, means = self.scales.square()
            self.scale.copy_((0.75 * details + 0.25 * means).sqrt())
        return total


def likelihood(name: LikelihoodName, sigma: float | None = None) -> Likelihood:
    """The likelihood of that name.

    Args:
        name: `wavelet`, `gaussian`, `laplace` or `bernoulli`.
        sigma: a fixed scale on pixels in [-1, 1]; None calibrates it.

    Raises:
        UserError: unknown name, or a scale that is not positive.
    """
    if name == "bernoulli":
        return Bernoulli()
    kinds: dict[str, Callable[[float | None], Likelihood]] = {
        "wavelet": Wavelet,
        "gaussian": Gaussian,
        "laplace": Laplace,
    }
    if name not in kinds:
        raise UserError(f"likelihood {name!r}: must be wavelet, gaussian, laplace or bernoulli")
    return kinds[name](sigma)
