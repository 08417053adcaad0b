"""Differentiable augmentation for a discriminator (Zhao et al., NeurIPS 2020), without cutout.

Real and decoded pictures are changed alike before they are judged, so that the discriminator of a few thousand pictures
does not learn them by heart.
"""

import torch
from torch import Tensor

from vae.model.distributed import local_part, world_size

_BRIGHTNESS, _CONTRAST, _SHIFT = 0.3, 0.5, 1 / 16  # the largest changes; a shift is a share of the side


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (N, C, H, W) with another brightness and contrast each, all shifted alike.

    Args:
        x: any pictures.
        generator: of the changes; the same on all processes.
    """
    changes = torch.rand(world_size() * len(x), 2, 1, 1, 1, generator=generator, device=x.device)
    brightness, contrast = (2 * local_part(changes) - 1).unbind(1)
    gain = 1 + _CONTRAST * contrast
    x = gain * x + ((1 - gain) * x.mean((1, 2, 3), keepdim=True) + _BRIGHTNESS * brightness)
    margin = max(1, int(_SHIFT * x.shape[-1]))
    shifts = torch.randint(-margin, margin + 1, (2, 1), generator=generator, device=x.device)
    for axis, shift in zip((2, 3), shifts, strict=True):
        places = torch.arange(x.shape[axis], device=x.device) + shift
        x = x.index_select(axis, places.clamp(0, len(places) - 1))  # the border is repeated
    return x
