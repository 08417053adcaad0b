"""How real pictures look to a network that no training here has seen, and how evenly a film changes in its eyes.

The network is EfficientNet-Lite2 with weights from ImageNet, which come in a package: nothing else is downloaded. It is
part of the extra `judge`.
"""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from data.fit import Fit
from data.image_files.picture_set import PictureSet, find_set
from data.transforms import to_tensor
from vae.metrics.efficientnet import check_efficientnet, efficientnet

_SIDE, _BATCH = 224, 16
_FRAMES, _LEAST_REAL, _MOST_REAL = 33, 16, 256
_JUDGE = 2, "judge"  # the variant, and the extra that brings it


def check_judge() -> None:
    """Raises `UserError` if the network is not installed."""
    check_efficientnet(*_JUDGE)


@cache
def _network() -> Any:
    with torch.random.fork_rng(devices=[]):  # from which it draws weights before it loads them
        return efficientnet(*_JUDGE)


@torch.inference_mode()
def features(x: Tensor, progress: Callable[[tuple[Tensor, ...]], Iterable[Tensor]] = iter) -> Tensor:
    """The mean features of pictures (N, C, H, W) in [-1, 1]: (N, 1280), on the CPU. Progress wraps the batches."""
    parts = []
    for some in progress(torch.split(x.cpu().expand(-1, 3, -1, -1), _BATCH)):
        large = F.interpolate(some.float(), (_SIDE, _SIDE), mode="bicubic", antialias=True)
        parts.append(_network().extract_features(large).mean((2, 3)))
    return torch.cat(parts)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """KID × 1000 of features (N, D) and (M, D), two or more each: 0 where both are alike, and below by chance."""
    return float(kernel_distances(a, b).mean())


def kernel_distances(a: Tensor, b: Tensor) -> Tensor:
    """What each of b contributes to `kernel_distance`, which is their mean: (M,).

    With k(u, v) = (u · v / D + 1)³ it is the unbiased estimate of E k(a, a') + E k(b, b') − 2 E k(a, b) (Bińkowski,
    Sutherland, Arbel and Gretton, *Demystifying MMD GANs*, ICLR 2018).
    """

    def kernel(u: Tensor, v: Tensor) -> Tensor:
        return (u @ v.T / a.shape[1] + 1) ** 3

    def within(u: Tensor) -> Tensor:
        k = kernel(u, u)
        return (k.sum(1) - k.diagonal()) / (len(u) - 1)

    return 1000 * (within(a).mean() + within(b) - 2 * kernel(a, b).mean(0))


def unevenness(film: Tensor) -> float:
    """The standard deviation over the mean of the steps between features (T, D) of neighbouring frames; 0 is even."""
    steps = film.diff(dim=0).norm(dim=1)
    return float(steps.std() / steps.mean().clamp_min(1e-12))


def find_real(folder: Path) -> PictureSet:
    """The pictures below a folder to judge by, 256 at most. Raises `UserError` if there are fewer than 16."""
    return find_set("--judge", folder, _LEAST_REAL, _MOST_REAL)


def real_features(real: PictureSet, size: int, channels: int, fit: Fit) -> Tensor:
    """The features (N, D) of pictures, read at a size and with a fit, see `data.fit.to_square`; progress bars show it.

    Raises `UserError` if too few can be read.
    """
    _, pixels = real.read(size, channels, fit)
    return features(to_tensor(torch.from_numpy(pixels)), lambda batches: tqdm(batches, "Judging", leave=False, delay=1))


class Judged(NamedTuple):
    """The frames (M,) that were judged: their times, and what each contributes to the film's KID × 1000."""

    t: Tensor
    kid: Tensor


class Realism(NamedTuple):
    """What the judge says of a film's frames between its keyframes.

    Attributes:
        kid: their KID × 1000 to real pictures, see `kernel_distance`; 0 is as real as those.
        cross_fade_kid: the same of a cross-fade between the keyframes.
        pdv: how unevenly the frames change, see `unevenness`.
    """

    kid: float
    cross_fade_kid: float
    pdv: float


@torch.inference_mode()
def realism(
    draw: Callable[[Tensor], Iterable[Tensor]], segments: int, t: Tensor, real: Tensor
) -> tuple[Realism, Judged]:
    """Judges a film by the features (N, D) of real pictures, and each frame between its keyframes.

    Args:
        draw: times (T,) in [0, segments] → pictures in batches (N, C, H, W); keyframes are at whole times.
        segments: how many.
        t: the times of its frames, of which 33 are judged.
        real: of pictures of the same size.
    """
    t = torch.unique(t.double())
    t = t[torch.linspace(0, len(t) - 1, min(_FRAMES, len(t))).round().long()]
    keyframes = torch.cat([x.cpu() for x in draw(torch.arange(segments + 1).double())])
    segment = t.floor().clamp_max(segments - 1).long()
    passed = t - segment
    fade = torch.lerp(keyframes[segment], keyframes[segment + 1], passed.float()[:, None, None, None])
    seen, between = features(torch.cat([x.cpu() for x in draw(t)])), (passed > 0) & (passed < 1)
    kids = kernel_distances(real, seen[between])
    of_fade = kernel_distance(real, features(fade)[between])
    return Realism(float(kids.mean()), of_fade, unevenness(seen)), Judged(t[between], kids)
