"""What is measured of a VAE on held-out pictures, alike for any network and likelihood."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae.latent.paths import slerp
from vae.metrics.judge import features, kernel_distance
from vae.metrics.smoothness import gradient_energy, smoothness_of_frames
from vae.model.elbo import kl_divergence

_HELD_OUT, _PAIRS, _FRAMES, _JUDGED, _BATCH = 512, 64, 16, 256, 64


class PictureNumbers(NamedTuple):
    """Numbers about a VAE and held-out pictures.

    Attributes:
        bpd: bits per dimension of a Gaussian with one variance, that of the errors on training pictures.
        rec: gradient energy of reconstructions over that of the pictures.
        prior: the same of samples.
        mid: `sharp_mid` of slerp between 64 pairs.
        cycle: of the same paths.
        kid_mid: KID × 1000 of their frames near the middle.
        kid_prior: of samples.
        kid_fade: of cross-fades of the same pairs, for comparison.
        aggregate_variance: of the codes with the posterior's noise, over active latents: 1 is the prior's.
        active: latents whose mean varies by more than 0.01.
        nearest: mean distance of a sample to the nearest training picture over that of a held-out picture: far below 1
            where samples are memories.
    """

    bpd: float
    rec: float
    prior: float
    mid: float
    cycle: float
    kid_mid: float
    kid_prior: float
    kid_fade: float
    aggregate_variance: float
    active: int
    nearest: float


@torch.inference_mode()
def measure(model, train: Tensor, held: Tensor) -> tuple[PictureNumbers, Tensor]:
    """The numbers, and a sheet: originals, reconstructions, two rows of samples, three morphs.

    Args:
        model: with `encode`, `decode` and `random_latents`, in eval mode.
        train: (N, C, H, W) uint8.
        held: (M, C, H, W) uint8, none of them in `train`.
    """
    generator = torch.Generator().manual_seed(0)
    x, bank = to_float(held[:_HELD_OUT]), to_float(train[:: math.ceil(len(train) / _HELD_OUT)])
    dims = x[0].numel()

    def decode(z: Tensor) -> Tensor:
        return torch.cat([model.decode(some).clamp(-1, 1) for some in z.split(_BATCH)])

    def encode(pictures: Tensor) -> tuple[Tensor, Tensor]:
        parts = [model.encode(some) for some in pictures.split(_BATCH)]
        return torch.cat([mu for mu, _ in parts]), torch.cat([logvar for _, logvar in parts])

    def bound(pictures: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = encode(pictures)
        drawn = decode(mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator))
        return (drawn - pictures).square().flatten(1).sum(1).double(), kl_divergence(mu, logvar).sum(1).double()

    variance = float(bound(bank)[0].mean()) / dims
    squares, kl = bound(x)
    nats = squares / (2 * variance) + dims / 2 * math.log(2 * math.pi * variance) + kl
    bpd = float(nats.mean()) / (dims * math.log(2)) + math.log2(127.5)

    mu, logvar = encode(x)
    rebuilt = decode(mu)
    noise = torch.randn(min(_JUDGED, 2 * len(x)), mu.shape[1], generator=generator)
    samples = decode(model.random_latents(noise))
    energy = gradient_energy(x).mean()
    starts, ends = (torch.randperm(len(x), generator=generator)[:_PAIRS] for _ in range(2))
    starts, ends = starts[starts != ends], ends[starts != ends]
    t = torch.linspace(0, 1, _FRAMES, dtype=torch.float64)
    paths = torch.stack([slerp(mu[pair], t) for pair in torch.stack([starts, ends], 1)]).float()
    frames = decode(paths.flatten(0, 1)).unflatten(0, paths.shape[:2])
    found = smoothness_of_frames(model, paths, frames, torch.stack([x[starts], x[ends]], 1))

    real = features(x[:_JUDGED])
    fades = torch.cat([torch.lerp(x[starts], x[ends], mix) for mix in (0.4, 0.6)])
    middles = frames[:, [round(0.4 * (_FRAMES - 1)), round(0.6 * (_FRAMES - 1))]].flatten(0, 1)
    active = mu.var(0) > 0.01
    variances = (mu.var(0) + logvar.exp().mean(0))[active if active.any() else ~active]
    numbers = PictureNumbers(
        bpd=bpd,
        rec=float(gradient_energy(rebuilt).mean() / energy),
        prior=float(gradient_energy(samples).mean() / energy),
        mid=float(found.sharp_mid),
        cycle=float(found.cycle),
        kid_mid=kernel_distance(real, features(middles)),
        kid_prior=kernel_distance(real, features(samples[: _JUDGED // 2])),
        kid_fade=kernel_distance(real, features(fades)),
        aggregate_variance=float(variances.mean()),
        active=int(active.sum()),
        nearest=float(_nearest(samples, to_float(train)) / _nearest(x, to_float(train))),
    )
    shown = torch.linspace(0, len(x) - 1, _FRAMES).long()
    rows = [x[shown], rebuilt[shown], samples[:_FRAMES], samples[_FRAMES : 2 * _FRAMES]]
    rows += [torch.cat([x[starts[p], None], frames[p, 1:-1], x[ends[p], None]]) for p in range(3)]
    return numbers, torch.stack(rows)


def to_float(pictures: Tensor) -> Tensor:
    """uint8 → float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def _nearest(pictures: Tensor, bank: Tensor) -> Tensor:
    """Mean distance to the nearest picture of a bank."""
    return torch.cdist(pictures.flatten(1), bank.flatten(1)).amin(1).mean()
