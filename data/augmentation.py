"""Changes to training pictures that leave them plausible, so that a few hundred of them teach what more would."""

import torch
from torch import Tensor

DRAWS = 3  # uniform numbers for each picture


def augment(pixels: Tensor, draws: Tensor, mirror: bool, shift: float) -> Tensor:
    """Mirrors every second picture and moves all of them by whole pixels, so that none becomes blurred.

    Args:
        pixels: (N, H, W, C) of any type.
        draws: (N, 3) uniform in [0, 1): which pictures are mirrored, how far they move down and to the right.
        mirror: left to right.
        shift: the furthest that they move, a share of the side; the border is repeated behind them.

    Returns:
        (N, H, W, C).
    """
    places = []
    for draw, side in ((draws[:, 1], pixels.shape[1]), (draws[:, 2], pixels.shape[2])):
        most = round(shift * side)
        moved = ((2 * most + 1) * draw).long() - most
        places.append((torch.arange(side, device=pixels.device) - moved[:, None]).clamp(0, side - 1))
    rows, columns = places
    if mirror:
        columns = torch.where(draws[:, :1] < 0.5, columns.flip(1), columns)
    return pixels[torch.arange(len(pixels), device=pixels.device)[:, None, None], rows[:, :, None], columns[:, None]]
