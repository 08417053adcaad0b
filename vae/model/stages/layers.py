"""Layers that encoders and decoders of all kinds are made of."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8
_SUMS = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])  # S: of neighbours, 3 → 4


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


class DoublingConv(nn.Module):
    """Nearest-neighbour upsampling by 2 and then a 3×3 convolution, which draws no checkerboards (Odena 2016).

    It is computed at once, as a transposed convolution of stride 2 whose 4×4 kernel is the 3×3 one summed over 2×2,
    S K Sᵀ: 4 products for each output instead of 9.
    """

    sums: Tensor

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        usual = nn.ConvTranspose2d(channels, out_channels, 3)
        self.weight, self.bias = usual.weight, usual.bias
        self.register_buffer("sums", torch.kron(_SUMS, _SUMS).T, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', 2H, 2W)."""
        kernel = (self.weight.flatten(2) @ self.sums).view(*self.weight.shape[:2], 4, 4)
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


@torch.no_grad()
def pass_on(layer: nn.Module) -> None:
    """Makes a layer pass on each channel: one that doubles a map repeats its places, one that halves it averages them.

    Other layers stay as they are, and those whose channels are not as many before and after.
    """
    doubles = isinstance(layer, DoublingConv)
    halves = isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)
    if (doubles or halves) and layer.weight.shape[0] == layer.weight.shape[1]:  # type: ignore[index]
        weight, bias = cast(Tensor, layer.weight), cast(Tensor, layer.bias)
        middle = slice(1, 2) if doubles else slice(1, 3)
        nn.init.zeros_(bias)
        nn.init.zeros_(weight)[..., middle, middle] = torch.eye(len(weight))[..., None, None] / (1 if doubles else 4)


def shuffled_head(width: int, channels: int, factor: int) -> list[nn.Module]:
    """The last layers of a decoder: each place of the map becomes a block of factor × factor pixels.

    The pixels of a block start out alike, against checkerboards (ICNR, Aitken 2017).
    """
    block = factor**2
    head = nn.Conv2d(width, block * channels, 3, padding=1)
    with torch.no_grad():
        head.weight.copy_(head.weight[::block].repeat_interleave(block, 0))
    return [head, nn.PixelShuffle(factor)]
