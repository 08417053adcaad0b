"""The network of a course lesson, made stronger: a falling learning rate, and an average of the weights.

Four convolutions (4×4, stride 2; 32, 64, 128, 256 channels) with BatchNorm, and their mirror image; 128 latents; the
sum of squared errors plus the KL divergence, which is a Gaussian of variance ½; Adam, 64 pictures a step.
"""

import copy
import itertools
import math
import time

import torch
from torch import Tensor, nn

from vae.model.elbo import kl_divergence

_BATCH, _RATE, _WARMUP, _HOLD, _DECAY = 64, 1e-3, 50, 0.3, 0.99
_WIDTHS = (32, 64, 128, 256)


class LessonVAE(nn.Module):
    """Images (N, C, H, W) in [-1, 1] ↔ 128 latents; H = W is a multiple of 16."""

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__()
        self.latent_dim, self.image_size, self.channels = 128, image_size, channels
        side, widths = image_size // 16, (channels, *_WIDTHS)
        down: list[nn.Module] = []
        for narrow, wide in itertools.pairwise(widths):
            down += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
        code = widths[-1] * side**2
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(code, 2 * self.latent_dim))
        up: list[nn.Module] = [nn.Linear(self.latent_dim, code), nn.Unflatten(1, (widths[-1], side, side))]
        for wide, narrow in itertools.pairwise(widths[:0:-1]):
            up += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU()]
        self.decoder = nn.Sequential(*up, nn.ConvTranspose2d(widths[1], channels, 4, 2, 1), nn.Tanh())

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(x.contiguous(memory_format=torch.channels_last)).chunk(2, 1)
        return mu, logvar

    def random_latents(self, noise: Tensor) -> Tensor:
        return noise

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


def train(pictures: Tensor, cpu_seconds: float, seed: int) -> LessonVAE:
    """The network after so much CPU time of one thread.

    Args:
        pictures: (N, C, H, W) uint8.
        cpu_seconds: of this process.
        seed: of weights, order and noise.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = LessonVAE(pictures.shape[1], pictures.shape[-1]).to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(network).eval()
    optimizer = torch.optim.Adam(network.parameters(), _RATE)
    start, step = time.process_time(), 0
    while True:
        for rows in torch.randperm(len(pictures), generator=generator).split(_BATCH)[: max(1, len(pictures) // _BATCH)]:
            progress = (time.process_time() - start) / cpu_seconds
            if progress >= 1:
                return average
            fall = max(0.0, (progress - _HOLD) / (1 - _HOLD))
            rate = _RATE * min(1.0, step / _WARMUP) * (0.02 + 0.49 * (1 + math.cos(math.pi * fall)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            x = pictures[rows].float() / 127.5 - 1
            mu, logvar = network.encode(x)
            y = network.decode(mu + (0.5 * logvar).exp() * torch.randn_like(mu))
            loss = (y - x).square().flatten(1).sum(1).mean() + kl_divergence(mu, logvar).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            _follow(average, network, 1 - min(_DECAY, step / (step + 9)))


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, share: float) -> None:
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        mean.lerp_(value, share) if mean.is_floating_point() else mean.copy_(value)
