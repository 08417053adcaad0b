"""Encoder and decoder: convolutions between a picture and a small map, which a linear layer joins to the latents."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from data.system.errors import UserError
from vae.model.autocast import without_autocast
from vae.model.stages import residual, strided
from vae.model.stages.layers import GROUPS

NetworkName = Literal["strided", "residual"]
_NETWORKS = {"strided": strided, "residual": residual}
_HIDDEN = 128  # units between latents and colours


def check_size(image_size: int, channels: int, latent_dim: int, width: int, network: str) -> None:
    """Raises `UserError` unless networks of these sizes can be built."""
    if image_size % 16 or not 32 <= image_size <= 256:
        raise UserError(f"image_size {image_size}: must be a multiple of 16 from 32 to 256")
    if channels not in (1, 3):
        raise UserError(f"channels {channels}: must be 1 (grey) or 3 (RGB)")
    if latent_dim < 1:
        raise UserError(f"latent_dim {latent_dim}: must be at least 1")
    if network not in _NETWORKS:
        raise UserError(f"network {network!r}: must be {' or '.join(get_args(NetworkName))}")
    if width % GROUPS or width < GROUPS:
        raise UserError(f"width {width}: must be a multiple of {GROUPS}")


def apply_frozen(module: nn.Module, x: Tensor) -> Any:
    """The output of a module whose weights are constants: gradients reach its input alone."""
    return functional_call(module, {name: weight.detach() for name, weight in module.named_parameters()}, (x,))


class Encoder(nn.Module):
    """Images (N, C, H, W) in [-1, 1] → the posterior's `mu` and `logvar`, each (N, D)."""

    def __init__(self, image_size: int, channels: int, latent_dim: int, width: int, network: NetworkName) -> None:
        super().__init__()
        stages = _NETWORKS[network].down(image_size, channels, width)
        self.features = nn.Sequential(*stages.layers, nn.Flatten())
        self.posterior = nn.Linear(stages.channels * stages.side**2, 2 * latent_dim)

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
        width: channels of the largest map.
        network: the kind of layers.
        palette: colours, see `PaletteMixer`; 0 is none.
        input_map: applied to the latents before the first layer, (N, D) → (N, D).
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        latent_dim: int,
        width: int,
        network: NetworkName,
        palette: int = 0,
        input_map: Callable[[Tensor], Tensor] = _identity,
    ) -> None:
        super().__init__()
        self.input_map = input_map
        stages = _NETWORKS[network].up(image_size, channels + palette, width)
        self.project = nn.Linear(latent_dim, stages.channels * stages.side**2)
        self.unflatten = nn.Unflatten(1, (stages.channels, stages.side, stages.side))
        self.layers = nn.Sequential(*stages.layers)
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
            *[
                nn.Linear(latent_dim, _HIDDEN),
                nn.SiLU(),
                nn.Linear(_HIDDEN, _HIDDEN),
                nn.SiLU(),
            ],
            *[nn.Linear(_HIDDEN, channels * colours), nn.Unflatten(1, (channels, -1))],
        )

    def forward(self, z: Tensor, maps: Tensor) -> Tensor:
        """Latents (N, D) and maps (N, C + K, H, W) → logits (N, C, H, W)."""
        residual, masks, colours = maps[:, : self.channels], maps[:, self.channels :], self.colours(z).float()
        with without_autocast(maps.device):
            return 2 * torch.einsum("nck,nkhw->nchw", colours, (2 * masks).softmax(1)) + 0.2 * residual


def squash(logits: Tensor) -> Tensor:
    """Pixels in [-1, 1] from logits, of any shape: 2·sigmoid(logits) − 1."""
    return torch.tanh(logits / 2)
