"""The detail of keyframes' pictures that a model does not draw, added to frames near them.

A frame at z, enlarged from the model's size, gets

    frame(z) + Σ_k w_k(z) · r_k,    r_k = picture_k − frame(z_k),    w_k = smoothstep(1 − ‖z − z_k‖ / (ρ · d_k))

d_k is the distance from pivot k to the nearest other one, or √D, the length of random latents, if there is none; ρ is
1/2. So each keyframe is shown exactly as it was given, at any size; half-way to the next its detail is gone, and no two
overlap.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.model.tuned_decoder import smoothstep

_REACH = 0.5  # ρ
_SAME = 1e-3  # pivots closer than this, over their mean length, are the same


@dataclass(frozen=True)
class Detail:
    """The detail of some keyframes.

    Attributes:
        pivots: (K, D) latents of all keyframes.
        residuals: r_k, (H, W, 3) int16, by the number of the keyframe, of those that have a picture.
    """

    pivots: Tensor
    residuals: dict[int, NDArray[np.int16]]

    def weights(self, z: Tensor) -> Tensor:
        """w_k of latents (N, D): (N, K); where pivots with detail are the same, their weights add up to 1."""
        pivots = self.pivots.double()
        apart = torch.cdist(pivots, pivots)
        same = apart <= _SAME * pivots.norm(dim=1).mean()
        nearest = torch.where(same, torch.inf, apart).amin(1)
        reach = _REACH * torch.where(nearest.isinf(), z.shape[1] ** 0.5, nearest)
        weights = smoothstep(1 - torch.cdist(z.double(), pivots) / reach)
        return weights / same[:, list(self.residuals)].sum(1).clamp_min(1)

    def added(self, frame: NDArray[np.uint8], weights: Tensor) -> NDArray[np.uint8]:
        """A frame (H, W, 3) with the detail, by the weights (K,) of its latent."""
        shares = {k: weight for k in self.residuals if (weight := float(weights[k])) > 0}
        if not shares:
            return frame
        total = frame + sum(np.float32(weight) * self.residuals[k] for k, weight in shares.items())
        return np.rint(total).clip(0, 255).astype(np.uint8)
