"""The visible change between pictures."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from vae.generator import Generator
from vae.inference import decode_batches
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
        self._first: Tensor | None = None
        self._last: Tensor | None = None
        self._changes: list[Tensor] = []

    def update(self, x: Tensor) -> None:
        """Adds the next pictures, (N, C, H, W)."""
        points = pyramid(x)
        chain = points if self._last is None else torch.cat([self._last, points])
        self._changes.append(chain.diff(dim=0).norm(dim=1).cpu())
        self._first = points[:1] if self._first is None else self._first
        self._last = points[-1:]

    def compute(self, closed: bool = False) -> Tensor:
        """(N − 1,), 0 or more, on the CPU; where closed (N,), with the change from the last picture to the first."""
        closing = []
        if closed and self._first is not None and self._last is not None:
            closing = [(self._last - self._first).norm(dim=1).cpu()]
        return torch.cat([*self._changes, *closing])


def visible_change_of_pictures(batches: Iterable[Tensor]) -> Tensor:
    """Visible change from each of N pictures to the next, in batches (M, C, H, W): (N − 1,), on the CPU."""
    change = VisibleChangeMeter()
    for x in batches:
        change.update(x)
    return change.compute()


@torch.no_grad()
def visible_change(model: Generator, z: Tensor) -> Tensor:
    """Visible change between the pictures of neighbouring latents (N, D): (N − 1,), on the CPU."""
    return visible_change_of_pictures(decode_batches(model, z))
