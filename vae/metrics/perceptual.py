"""The visible change between pictures."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from vae.model.blur import blur

_LEVELS = 3


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


class VisibleChangeMeter:
    """Visible change from each picture to the next, of pictures that come in batches."""

    def __init__(self) -> None:
        self._ends: list[Tensor] = []  # the points of the first picture and of the last
        self._changes: list[Tensor] = []

    def update(self, x: Tensor) -> None:
        """Adds the next pictures, (N, C, H, W)."""
        points = torch.cat([*self._ends[1:], pyramid(x)])
        self._changes.append(points.diff(dim=0).norm(dim=1).cpu())
        self._ends = [self._ends[0] if self._ends else points[:1], points[-1:]]

    def compute(self, closed: bool = False) -> Tensor:
        """(N − 1,), 0 or more, on the CPU; where closed (N,), with the change from the last picture to the first."""
        closing = [torch.cat(self._ends[::-1]).diff(dim=0).norm(dim=1).cpu()] if closed else []
        return torch.cat([*self._changes, *closing])


@torch.no_grad()
def visible_change(pictures: Iterable[Tensor]) -> Tensor:
    """Visible change between neighbouring pictures, which come in batches (N, C, H, W): (N − 1,), on the CPU."""
    meter = VisibleChangeMeter()
    for x in pictures:
        meter.update(x)
    return meter.compute()
