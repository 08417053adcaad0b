"""How much a picture changes to the eye, and paths timed by it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vae.generator import Generator
from vae.metrics.smoothness import decode
from vae.model.blur import blur

_LEVELS = 3
_AT_ONCE = 64


def pyramid(x: Tensor) -> Tensor:
    """Pictures as points whose distance is visible change: (N, C, H, W) → (N, M).

    The Gaussian pyramid (Burt and Adelson 1983) without its finest level, so that fine texture does not outweigh shape
    and colour; the squared distance is the sum over levels of the mean squared difference of their pixels.
    """
    levels = []
    for _ in range(_LEVELS):
        x = F.avg_pool2d(blur(x, 1.0), 2)
        levels.append(x.flatten(1) / x[0].numel() ** 0.5)
    return torch.cat(levels, 1)


@torch.no_grad()
def visible_change(vae: Generator, z: Tensor) -> Tensor:
    """How much the pictures of latents (N, D) change from one to the next: (N − 1,), 0 or more."""
    parts = [z[start : start + _AT_ONCE + 1] for start in range(0, len(z) - 1, _AT_ONCE)]
    return torch.cat([pyramid(decode(vae, part)).diff(dim=0).norm(dim=1) for part in parts])
