"""PCA latents: leading latent dimensions that are principal components of the pictures and are not learned.

They are the components of heavily blurred pictures, that is of their coarse layout, scaled to the variance of the
prior: the mean of a linear VAE's posterior, up to its noise (Tipping and Bishop,
*Probabilistic Principal Component Analysis*, 1999, eq. 10; Lucas, Tucker, Grosse and Norouzi, *Don't Blame the ELBO!*,
NeurIPS 2019). A linear map of the picture cannot fold, and changes evenly when the picture does.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae.model.autocast import without_autocast
from vae.model.blur import blur

PCA_STD = 0.003  # of the posterior in these dimensions
_SIDE = 16  # pixels: a blur of 6 of them leaves no finer detail
_BLUR = 6.0
_SPHERE_VARIATION = 0.1  # of lengths, below which points are taken to lie on a sphere
_PICTURES_PER_COMPONENT = 4  # fewer always lie on a sphere: whitening makes a simplex of them


class PCALatents(nn.Module):
    """The linear map from pictures to the first latents; it has no dimensions until `fit` was called.

    Attributes:
        mask: (D,) 1 for PCA dimensions, which come first, 0 for learned ones.
        weight: (D, C·256) the map, applied to blurred pictures of 16×16 pixels.
        offset: (D,) the latents of the mean picture.
        radius: () the length of all PCA latents if they lie on a sphere, else 0.
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
        """Pictures (N, C, H, W) in [-1, 1] → (N, D), 0 in learned dimensions."""
        with without_autocast(x.device):
            return self.onto_sphere(self._project(_coarse(x)))

    def _project(self, coarse: Tensor) -> Tensor:
        return F.linear(coarse, self.weight) - self.offset

    def onto_sphere(self, z: Tensor) -> Tensor:
        """Latents (N, D) whose PCA dimensions have been scaled to the length `radius`, if there is one."""
        length = (z * self.mask).norm(dim=1, keepdim=True).clamp_min(1e-6)
        return torch.where((self.mask > 0) & (self.radius > 0), z * self.radius / length, z)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor], share: float) -> None:
        """Chooses the components that hold more than a share of the variance of the blurred pictures.

        Where the lengths of the PCA latents hardly differ (coefficient of variation below 0.1), as for an object that
        rotates, they lie on a sphere; its radius is then stored, so that a great circle never leaves it.

        Args:
            batches: of pictures, (N, C, H, W) in [-1, 1], on any device.
            share: of the variance, in (0, 1).
        """
        coarse = torch.cat([_coarse(batch.to(self.weight.device)) for batch in batches])
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
        enough = count > 1 and len(coarse) > _PICTURES_PER_COMPONENT * count
        if enough and lengths.std() < _SPHERE_VARIATION * lengths.mean():
            self.radius.fill_(count**0.5)


def _coarse(x: Tensor) -> Tensor:
    """Blurred pictures of 16×16 pixels, (N, C·256)."""
    return blur(F.adaptive_avg_pool2d(x.float(), _SIDE), _BLUR).flatten(1)
