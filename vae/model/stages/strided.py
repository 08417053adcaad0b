"""Strided networks: 4×4 convolutions of stride 2 (Radford 2016) with GroupNorm, and most channels where maps are small.

On a processor the cost of a network is its operations and its passes over large maps, so blocks of 4×4 pixels become
channels before the first convolution. The decoder goes up to blocks of 2×2, with half the channels: larger ones would
show.
"""

from itertools import pairwise

from torch import nn

from vae.model.stages.layers import GROUPS, DoublingConv, Norm, Stages, shuffled_head

_SLOPE = 0.2
_BLOCK = 4  # pixels, a side
_SMALLEST = 4  # pixels, the side of the smallest map


def stage_widths(image_size: int, width: int) -> list[int]:
    """The number of channels at each scale, from the largest map down: twice as many each time, up to four times.

    >>> stage_widths(32, 64), stage_widths(64, 64), stage_widths(48, 64), stage_widths(256, 64)
    ([64, 128], [64, 128, 256], [64, 128, 256], [64, 128, 256, 256, 256])
    """
    side, widths = image_size // _BLOCK, [width]
    while side > _SMALLEST and side % 2 == 0:
        side //= 2
        widths.append(min(2 * widths[-1], 4 * width))
    return widths


def down(image_size: int, channels: int, width: int) -> Stages:
    """The encoder's layers."""
    widths = stage_widths(image_size, width)
    layers: list[nn.Module] = [nn.PixelUnshuffle(_BLOCK), nn.Conv2d(_BLOCK**2 * channels, widths[0], 3, padding=1)]
    for narrow, wide in pairwise(widths):
        layers += [Norm(narrow), nn.LeakyReLU(_SLOPE), nn.Conv2d(narrow, wide, 4, stride=2, padding=1)]
    layers += [Norm(widths[-1]), nn.LeakyReLU(_SLOPE)]
    return Stages(layers, widths[-1], image_size // _BLOCK >> len(widths) - 1)


def up(image_size: int, channels: int, width: int) -> Stages:
    """The decoder's layers; `channels` are those of its output."""
    widths = stage_widths(image_size, width)[::-1]
    side = image_size // _BLOCK >> len(widths) - 1
    widths.append(GROUPS * max(1, width // 2 // GROUPS))
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [Norm(wide), nn.LeakyReLU(_SLOPE), DoublingConv(wide, narrow)]
    layers += [Norm(widths[-1]), nn.LeakyReLU(_SLOPE), *shuffled_head(widths[-1], channels, _BLOCK // 2)]
    return Stages(layers, widths[0], side)
