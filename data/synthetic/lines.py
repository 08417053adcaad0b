"""`lines`: the images of the LINES benchmark.

Berthelot, Raffel, Roy and Goodfellow, *Understanding and Improving Interpolation in Autoencoders via an Adversarial
Regularizer*, ICLR 2019: one anti-aliased line two pixels wide from the centre (16, 16) to 15 pixels away, in white
on black, at an angle that is uniform in [0, 2π). Drawn here from the distance to the line's segment.
"""

import math

import torch
from torch import Tensor

from data.rng import uniform

SIZE = 32
CHANNELS = 1


def draw_lines(angles: Tensor, size: int = SIZE) -> Tensor:
    """Draws one line, which grows with the picture, for each angle (N,) → (N, size, size, 1) float32 in [0, 1]."""
    scale = size / SIZE
    axis = torch.arange(size) + 0.5 - size / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    along = (x * cos + y * sin).clamp(0, 15 * scale)
    distance = torch.hypot(x - along * cos, y - along * sin)
    return (scale + 0.5 - distance).clamp(0, 1)[..., None]


def lines(seed: int, indices: Tensor, size: int) -> Tensor:
    """Images `indices` of the family with this seed: (N,) int64 → (N, size, size, 1) uint8."""
    angles = 2 * math.pi * uniform(seed, indices, 1)[:, 0]
    return (draw_lines(angles, size) * 255).round().to(torch.uint8)
