"""Layers that encoders and decoders of all kinds are made of."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8


class Stages(NamedTuple):
    """Layers between a picture and its smallest map.

    Attributes:
        layers: in order.
        channels: of the smallest map.
        side: of the smallest map, in pixels.
    """

    layers: list[nn.Module]
    channels: int
    side: int


class Norm(nn.GroupNorm):
    """Group normalization in float32: bfloat16 would be less exact, and on a CPU four times slower."""

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape and type."""
        return F.group_norm(x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps).to(x.dtype)


def shuffled_head(width: int, channels: int, factor: int) -> list[nn.Module]:
    """The last layers of a decoder: each place of the map becomes a block of factor × factor pixels.

    The pixels of a block start out alike, against checkerboards (ICNR, Aitken 2017).
    """
    block = factor**2
    head = nn.Conv2d(width, block * channels, 3, padding=1)
    with torch.no_grad():
        head.weight.copy_(head.weight[::block].repeat_interleave(block, 0))
    return [head, nn.PixelShuffle(factor)]
