"""Encoder and decoder: residual convolutions (He 2016) with GroupNorm (Wu and He 2018) and SiLU.

Both halve or double the picture until its side is odd or at most eight pixels; a linear layer joins that small map to
the latents. The decoder adds position features at every scale, so that a place in the picture need not be guessed from
the borders.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from data.system.errors import UserError
from vae.model.autocast import without_autocast

_GROUPS = 8
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


def check_size(image_size: int, channels: int, latent_dim: int, width: int) -> None:
    """Raises `UserError` unless networks of these sizes can be built."""
    if image_size % 16 or not 32 <= image_size <= 256:
        raise UserError(f"image_size {image_size}: must be a multiple of 16 from 32 to 256")
    if channels not in (1, 3):
        raise UserError(f"channels {channels}: must be 1 (grey) or 3 (RGB)")
    if latent_dim < 1:
        raise UserError(f"latent_dim {latent_dim}: must be at least 1")
    if width % _GROUPS or width < _GROUPS:
        raise UserError(f"width {width}: must be a multiple of {_GROUPS}")


def stage_widths(image_size: int, width: int) -> list[int]:
    """The number of channels at each scale, from half the picture's side down to the smallest map."""
    return [width * min(2**level, 4) for level in range(halvings(image_size))]


class Norm(nn.GroupNorm):
    """Group normalization in float32: bfloat16 would be less exact, and on a CPU four times slower."""

    def __init__(self, channels: int) -> None:
        super().__init__(_GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape and type."""
        return F.group_norm(x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps).to(x.dtype)


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


def apply_frozen(module: nn.Module, x: Tensor) -> Any:
    """The output of a module whose weights are constants: gradients reach its input alone."""
    return functional_call(module, {name: weight.detach() for name, weight in module.named_parameters()}, (x,))


class Encoder(nn.Module):
    """Images (N, C, H, W) in [-1, 1] → the posterior's `mu` and `logvar`, each (N, D)."""

    def __init__(self, image_size: int, channels: int, latent_dim: int, width: int) -> None:
        super().__init__()
        widths = stage_widths(image_size, width)
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, widths[0], 3, padding=1)]
        for narrow, wide in pairwise(widths):
            layers += [Residual(narrow), nn.Conv2d(narrow, wide, 3, stride=2, padding=1)]
        layers += [Residual(widths[-1]), nn.Conv2d(widths[-1], _CODE_CHANNELS, 3, padding=1)]
        side = image_size >> len(widths)
        layers += [Residual(_CODE_CHANNELS), Norm(_CODE_CHANNELS), nn.SiLU(), nn.Flatten()]
        self.features = nn.Sequential(*layers)
        self.posterior = nn.Linear(_CODE_CHANNELS * side * side, 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.posterior(self.features(x)).float().chunk(2, dim=1)
        return mu, logvar.clamp(-12, 4)


def _identity(z: Tensor) -> Tensor:
    return z


class Decoder(nn.Module):
    """Latents (N, D) → images (N, C, H, W) in [-1, 1].

    Args:
        image_size: H and W.
        channels: C.
        latent_dim: D.
        width: channels of the widest map.
        palette: colours, see `PaletteMixer`; 0 is none.
        input_map: applied to the latents before the first layer, (N, D) → (N, D).
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        latent_dim: int,
        width: int,
        palette: int = 0,
        input_map: Callable[[Tensor], Tensor] = _identity,
    ) -> None:
        super().__init__()
        self.input_map = input_map
        widths = stage_widths(image_size, width)[::-1]
        side = image_size >> len(widths)
        self.project = nn.Linear(latent_dim, widths[0] * side * side)
        self.unflatten = nn.Unflatten(1, (widths[0], side, side))
        layers: list[nn.Module] = [Position(widths[0], side), Residual(widths[0])]
        for wide, narrow in pairwise(widths):
            side *= 2
            layers += [nn.Conv2d(wide, narrow, 1), nn.Upsample(scale_factor=2, mode="bilinear")]
            layers += [Position(narrow, side), Residual(narrow)]
        layers += [Residual(widths[-1]), Norm(widths[-1]), nn.SiLU()]
        head = nn.Conv2d(widths[-1], 4 * (channels + palette), 3, padding=1)
        with torch.no_grad():  # the four pixels of a block start out alike, against checkerboards (ICNR, Aitken 2017)
            head.weight.copy_(head.weight[::4].repeat_interleave(4, 0))
        layers += [head, nn.PixelShuffle(2)]
        self.layers = nn.Sequential(*layers)
        # not among the layers, as torch.compile mistakes what its gradient looks like in memory:
        # https://github.com/pytorch/pytorch/issues/179442
        self.smooth = BoxFilter()
        self.palette = PaletteMixer(latent_dim, channels, palette) if palette else None

    def logits(self, z: Tensor) -> Tensor:
        """The logits log(p / (1 − p)) of the brightness p = (x + 1)/2 of pixels: (N, D) → (N, C, H, W)."""
        z = self.input_map(z)
        h = self.unflatten(self.project(z)).contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.smooth(self.layers(h)).float()
        return maps if self.palette is None else self.palette(z, maps)

    def forward(self, z: Tensor) -> Tensor:
        return squash(self.logits(z))


class BoxFilter(nn.Module):
    """The mean of 2×2 neighbouring pixels, a low-pass filter that removes checkerboards.

    It is a depthwise convolution, because average pooling is many times slower on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape; the border is repeated above and to the left."""
        weight = x.new_full((x.shape[1], 1, 2, 2), 0.25)
        return F.conv2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), weight, groups=x.shape[1])


class PaletteMixer(nn.Module):
    """Mixes a few colours, which depend on z and are the same in the whole picture, by soft masks, and adds a residual.

    logits = Σ_k softmax_k(masks) · colour_k(z) + residual, so that shapes and colours change independently.

    Args:
        latent_dim: D.
        channels: C of the picture.
        colours: K.
    """

    def __init__(self, latent_dim: int, channels: int, colours: int) -> None:
        super().__init__()
        self.channels = channels
        self.colours = nn.Sequential(
            *[nn.Linear(latent_dim, _CODE_CHANNELS), nn.SiLU(), nn.Linear(_CODE_CHANNELS, _CODE_CHANNELS), nn.SiLU()],
            *[nn.Linear(_CODE_CHANNELS, channels * colours), nn.Unflatten(1, (channels, -1))],
        )

    def forward(self, z: Tensor, maps: Tensor) -> Tensor:
        """Latents (N, D) and maps (N, C + K, H, W) → logits (N, C, H, W)."""
        residual, masks, colours = maps[:, : self.channels], maps[:, self.channels :], self.colours(z).float()
        with without_autocast(maps.device):
            return 2 * torch.einsum("nck,nkhw->nchw", colours, (2 * masks).softmax(1)) + 0.2 * residual


def squash(logits: Tensor) -> Tensor:
    """Pixels in [-1, 1] from logits, of any shape: 2·sigmoid(logits) − 1."""
    return torch.tanh(logits / 2)
