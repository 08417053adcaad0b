"""Residual networks: residual convolutions (He 2016) with GroupNorm (Wu and He 2018) and SiLU at every scale.

They halve or double the picture until its side is odd or at most eight pixels. The decoder adds position features at
every scale, so that a place in the picture need not be guessed from the borders.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae.model.stages.layers import Norm, Stages, shuffled_head

_CODE_CHANNELS = 128


def halvings(image_size: int) -> int:
    """The number of times that the encoder halves the picture: until its side is odd or at most 8.

    >>> [halvings(size) for size in (32, 48, 64, 128, 176, 256)]
    [2, 3, 3, 4, 4, 5]
    """
    steps = 0
    while image_size > 8 and image_size % 2 == 0:
        image_size //= 2
        steps += 1
    return steps


def stage_widths(image_size: int, width: int) -> list[int]:
    """The number of channels at each scale, from half the picture's side down to the smallest map."""
    return [width * min(2**level, 4) for level in range(halvings(image_size))]


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), the identity at the start of training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = Norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = Norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class Position(nn.Module):
    """Adds a learned mix of x, y, radius and low-frequency waves to a square map of the given side."""

    features: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        axis = (torch.arange(side, device="cpu") + 0.5) / side * 2 - 1  # on "meta" this would import torch._dynamo, 2 s
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        maps = [x, y, torch.hypot(x, y), x.abs(), y.abs()]
        for octave in (1, 2, 4):
            for coordinate in (x, y):
                phase = math.pi * octave * coordinate
                maps += [phase.sin(), phase.cos()]
        self.register_buffer("features", torch.stack(maps)[None], persistent=False)
        self.mix = nn.Conv2d(len(maps), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(self.features)


def down(image_size: int, channels: int, width: int) -> Stages:
    """The encoder's layers."""
    widths = stage_widths(image_size, width)
    layers: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, widths[0], 3, padding=1)]
    for narrow, wide in pairwise(widths):
        layers += [Residual(narrow), nn.Conv2d(narrow, wide, 3, stride=2, padding=1)]
    layers += [Residual(widths[-1]), nn.Conv2d(widths[-1], _CODE_CHANNELS, 3, padding=1)]
    layers += [Residual(_CODE_CHANNELS), Norm(_CODE_CHANNELS), nn.SiLU()]
    return Stages(layers, _CODE_CHANNELS, image_size >> len(widths))


def up(image_size: int, channels: int, width: int) -> Stages:
    """The decoder's layers; `channels` are those of its output."""
    widths = stage_widths(image_size, width)[::-1]
    start = side = image_size >> len(widths)
    layers: list[nn.Module] = [Position(widths[0], side), Residual(widths[0])]
    for wide, narrow in pairwise(widths):
        side *= 2
        layers += [nn.Conv2d(wide, narrow, 1), nn.Upsample(scale_factor=2, mode="bilinear")]
        layers += [Position(narrow, side), Residual(narrow)]
    layers += [Residual(widths[-1]), Norm(widths[-1]), nn.SiLU(), *shuffled_head(widths[-1], channels, 2)]
    return Stages(layers, widths[0], start)
