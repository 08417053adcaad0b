"""Registration: the flow that takes one picture to another.

Half of it takes a, and half of it backwards takes b, to the same picture, as well as a smooth flow can. With a^v the
picture a that went along v, the velocity v minimises

    Σ_levels mean ‖a^{v/2} − b^{−v/2}‖² + 0.1 · mean ‖Δw‖² + 0.005 · mean ‖∇v‖²,    v = an affine map + w

over four levels of a pyramid; w has 6×6 values. Where pictures have a plain ground, it is their outlines that are
matched: a pixel counts by its distance from the ground's colour, and its colour counts little. Where they have none,
0.5 · mean ‖v‖² is added: pictures of other things stay where they are, the same thing elsewhere is found.

Source: Ashburner, *A fast diffeomorphic image registration algorithm*, NeuroImage 38(1), 2007, for the flow and its
energies; Avants, Epstein, Grossman and Gee, *Symmetric diffeomorphic image registration with cross-correlation*,
Medical Image Analysis 12(1), 2008, for meeting half-way.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data.fit import border_pixels, ground_colour
from vae.morphing.flow import displaced, displacement, places

_SIDE, _LEVELS, _GRID = 64, 4, 6
_BENDING, _STRETCHING = 0.1, 0.005
_MOVING = 0.5  # where there is no plain ground
_STEPS, _RATE = 150, 0.05
_OUTLINES, _COLOURS = 4.0, 0.1  # what squared differences count where the ground is plain
_CLEAR = 0.7  # a distance of colours, in [-1, 1] each, that is as good as any larger one
_PLAIN = 0.8


def ground(x: Tensor) -> Tensor:
    """The colour of the border of pictures on the CPU, its median: (N, C, H, H) → (N, C, 1, 1)."""
    return torch.from_numpy(ground_colour(_channels_last(x)))[..., None, None]


def plainness(x: Tensor) -> Tensor:
    """How alike the border of pictures is, (N,): 1 is one colour."""
    return 1 - _difference(_border(x)[..., None], ground(x)).mean((1, 2, 3))


def stands_on_plain_ground(x: Tensor) -> bool:
    """True if one colour is nearly all of the border of pictures (N, C, H, H)."""
    return bool((plainness(x) > _PLAIN).all())


def register(a: Tensor, b: Tensor) -> Tensor:
    """The velocity (1, 2, G, G) of the flow from picture a to picture b, (1, C, H, H) each, in [-1, 1].

    From b to a it is the same with the opposite sign.
    """
    a, b = (F.interpolate(x, (_SIDE, _SIDE), mode="bilinear", antialias=True) for x in (a, b))
    by_outline = float((2 * torch.minimum(plainness(a), plainness(b)) - 1).clamp(0, 1))
    a, b = _features(a, by_outline), _features(b, by_outline)
    affine, local = torch.zeros(2, 3, requires_grad=True), torch.zeros(1, 2, _GRID, _GRID, requires_grad=True)
    grid = F.pad(places(_GRID), (0, 0, 0, 0, 0, 1), value=1.0)
    optimizer = torch.optim.Adam([affine, local], _RATE)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
    for _ in range(_STEPS):
        velocity = torch.einsum("ij,njhw->nihw", affine, grid) + local
        pair = [displaced(x, displacement(half, _SIDE // 2)) for x, half in ((a, -velocity / 2), (b, velocity / 2))]
        loss = _BENDING * _bending(local) + _STRETCHING * _stretching(velocity)
        loss = loss + _MOVING * (1 - by_outline) * velocity.square().sum(1).mean()
        for _ in range(_LEVELS):
            pair = [F.avg_pool2d(x, 2) for x in pair]
            loss = loss + (pair[0] - pair[1]).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        rate.step()
    return velocity.detach()


def _border(x: Tensor) -> Tensor:
    """The pixels at the edges of pictures, (N, C, M)."""
    return torch.from_numpy(border_pixels(_channels_last(x))).movedim(2, 1).contiguous()


def _channels_last(x: Tensor) -> NDArray[np.float32]:
    return x.movedim(1, 3).numpy()


def _difference(x: Tensor, colour: Tensor) -> Tensor:
    """How much pixels differ from a colour, in [0, 1]: (N, C, H, W) and (N, C, 1, 1) → (N, 1, H, W)."""
    return ((x - colour).norm(dim=1, keepdim=True) / _CLEAR).clamp_max(1)


def _features(x: Tensor, by_outline: float) -> Tensor:
    """What is matched: colours and outlines, (N, C + 1, H, W), so scaled that squared differences have their weight."""
    outlines = _difference(x, ground(x)) * (_OUTLINES * by_outline) ** 0.5
    return torch.cat([x * (1 + (_COLOURS - 1) * by_outline) ** 0.5, outlines], 1)


def _bending(local: Tensor) -> Tensor:
    """Mean ‖Δw‖², the border repeated."""
    w = F.pad(local, (1, 1, 1, 1), mode="replicate")
    around = w[..., 1:-1, 2:] + w[..., 1:-1, :-2] + w[..., 2:, 1:-1] + w[..., :-2, 1:-1]
    return (around - 4 * local).square().mean() * (_GRID / 2) ** 4


def _stretching(velocity: Tensor) -> Tensor:
    """Mean ‖∇v‖²."""
    return (velocity.diff(dim=2).square().mean() + velocity.diff(dim=3).square().mean()) * (_GRID / 2) ** 2
