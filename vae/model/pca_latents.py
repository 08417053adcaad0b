"""Anchored latents: leading dimensions that are not learned but given, and so cannot fold.

They are the principal components of heavily blurred pictures, the coarse layout that every picture has, whitened so
that their variance is the prior's: what the mean of a linear VAE's posterior is, up to its noise (Tipping and Bishop,
*Probabilistic Principal Component Analysis*, 1999, eq. 10; Lucas, Tucker, Grosse and Norouzi, *Don't Blame the ELBO!*,
NeurIPS 2019). As a linear map of the picture they change evenly when the picture does.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae.model.blur import blur

STD = 0.003
_SIDE = 16  # more detail than this a blur of 6 pixels in 16 leaves nothing of
_BLUR = 6.0
_ON_SPHERE = 0.1
_ENOUGH = 4  # fewer pictures for each component lie on a sphere whatever they show: whitening makes a simplex of them


class PCALatents(nn.Module):
    """A linear map from pictures to the first latents; all zero until it was fitted.

    Attributes:
        mask: (D,) 1 where a dimension is anchored.
        radius: () the length that all codes are given, 0 where they keep their own.
    """

    mask: Tensor
    weight: Tensor
    offset: Tensor
    radius: Tensor

    def __init__(self, channels: int, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mask", torch.zeros(latent_dim))
        self.register_buffer("weight", torch.zeros(latent_dim, channels * _SIDE**2))
        self.register_buffer("offset", torch.zeros(latent_dim))
        self.register_buffer("radius", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) → (N, D), 0 where a dimension is not anchored."""
        with torch.autocast(x.device.type, enabled=False):
            return self.onto_sphere(self._project(_coarse(x)))

    def _project(self, coarse: Tensor) -> Tensor:
        return F.linear(coarse, self.weight) - self.offset

    def onto_sphere(self, z: Tensor) -> Tensor:
        """Latents (N, D) with the anchored ones at their radius, if they have one; the others as they are."""
        length = (z * self.mask).norm(dim=1, keepdim=True).clamp_min(1e-6)
        return torch.where((self.mask > 0) & (self.radius > 0), z * self.radius / length, z)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor], share: float) -> None:
        """Takes the components that hold more than a share of the variance of the blurred pictures.

        Where the lengths of their codes hardly differ (a coefficient of variation below 0.1), the codes lie on a
        sphere, as those of a turning object do; then they are put onto it, so that a great circle never leaves it.

        Args:
            batches: of pictures, (N, C, H, W) in [-1, 1].
            share: in (0, 1).
        """
        coarse = torch.cat([_coarse(batch) for batch in batches])
        mean = coarse.mean(0)
        _, singular, directions = torch.linalg.svd(coarse - mean, full_matrices=False)
        variance = singular.square()
        rounding = 1e-6 * coarse.square().sum()
        count = min(int((variance > share * variance.sum() + rounding).sum()), len(self.mask))
        scale = len(coarse) ** 0.5 / singular[:count]
        self.mask.zero_()[:count] = 1
        self.weight.zero_()[:count] = directions[:count] * scale[:, None]
        self.offset.copy_(self.weight @ mean)
        self.radius.zero_()
        lengths = self._project(coarse).norm(dim=1)
        if count > 1 and len(coarse) > _ENOUGH * count and lengths.std() < _ON_SPHERE * lengths.mean():
            self.radius.fill_(count**0.5)


def _coarse(x: Tensor) -> Tensor:
    """Blurred pictures of 16×16 pixels, (N, C·256)."""
    return blur(F.adaptive_avg_pool2d(x.float(), _SIDE), _BLUR).flatten(1)
