"""`lines`: the images of the LINES benchmark.

Berthelot, Raffel, Roy and Goodfellow, *Understanding and Improving Interpolation in Autoencoders via an Adversarial
Regularizer*, ICLR 2019: one anti-aliased line two pixels wide from the centre (16, 16) to 15 pixels away, in white
on black, at an angle that is uniform in [0, 2π) and grows anticlockwise. It is drawn as the paper's code draws it, cell
by cell along the longer of its two sides: two pixels across that side at each, so a diagonal is thinner than an upright
line.
"""

import math

import torch
from torch import Tensor

from data.rng import uniform

SIZE = 32
CHANNELS = 1
_WIDTH = 2  # pixels of a picture of that size


def draw_lines(angles: Tensor, size: int = SIZE) -> Tensor:
    """Draws one line, which grows with the picture, for each angle (N,) → (N, size, size, 1) float32 in [0, 1]."""
    scale, centre = size / SIZE, size / 2
    across, down = (centre - scale) * angles.double().cos(), (scale - centre) * angles.double().sin()
    steep = down.abs() >= across.abs()
    longer, shorter = torch.where(steep, down, across), torch.where(steep, across, down)
    start, end = centre + longer.clamp_max(0), centre + longer.clamp_min(0)  # along the longer side
    cells = torch.arange(size, dtype=torch.float64)
    edge = centre + torch.where(longer < 0, shorter, 0) - scale * _WIDTH / 2
    edge = edge[:, None] + (cells - start[:, None] - 0.5) * (shorter / longer)[:, None]
    covered = torch.minimum(edge[..., None] + scale * _WIDTH, cells + 1) - torch.maximum(edge[..., None], cells)
    present = (cells + 1 - start[:, None]).clamp(0, 1) * (cells < end[:, None].ceil())
    pictures = covered.clamp(0, 1) * present[..., None]  # (N, along, across)
    return torch.where(steep[:, None, None], pictures, pictures.mT).float()[..., None]


def lines(seed: int, indices: Tensor, size: int) -> Tensor:
    """Images `indices` of the family with this seed: (N,) int64 → (N, size, size, 1) uint8."""
    angles = 2 * math.pi * uniform(seed, indices, 1)[:, 0]
    return (draw_lines(angles, size) * 255).round().to(torch.uint8)
