"""The smoothness of decoded paths, in numbers.

A path's frames are x_i = g(z_i), i = 0 … N − 1; g decodes, mu encodes. Everything is a mean over P paths, computed in
float32: under bfloat16 these small differences drown.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae.generator import Generator, has_encoder
from vae.inference import decode_all, encode_means
from vae.model.vae import VAE

_FLAT = 1e-5  # gradient energy; a step of one level between all pixels has six times as much


class Smoothness(NamedTuple):
    """Four numbers about decoded paths, each () and averaged over the paths.

    Attributes:
        cycle: mean over inner frames of ‖mu(g(z_i)) − z_i‖ over half the chord ‖z_(N−1) − z_0‖. 0: encoding
            undoes decoding; 1 and more: the path leaves the codes of real pictures.
        off_manifold: MSE(g(mu(x_i)), x_i) over inner frames, over the model's own reconstruction MSE on real pictures.
            About 1 or less: frames are as familiar as pictures are; large: they are not.
        sharp_mid: min over frames of G(x_i) over the mix of the ends' G in proportion to i, where G is the gradient
            energy of the real pictures at the ends. 1: as sharp as they; 0.5: a cross-fade; a blurry decoder is low.
            Pairs with a flat picture do not count; nan if there are no others.
        jump: the largest step ‖x_(i+1) − x_i‖ over the mean step. 1: constant visible speed; N − 1: a hard cut.
    """

    cycle: Tensor
    off_manifold: Tensor
    sharp_mid: Tensor
    jump: Tensor


LARGER_IS_BETTER = ("sharp_mid",)  # of the numbers in `Smoothness`; of the others the smaller


def gradient_energy(x: Tensor) -> Tensor:
    """The mean squared difference of neighbouring pixels, down and across: (…, C, H, W) → (…)."""
    down = (x[..., 1:, :] - x[..., :-1, :]).square().mean((-3, -2, -1))
    across = (x[..., :, 1:] - x[..., :, :-1]).square().mean((-3, -2, -1))
    return down + across


@torch.no_grad()
def smoothness(model: Generator, paths: Tensor, pictures: Tensor) -> Smoothness:
    """Measures paths (P, N, D), N ≥ 3, between the encodings of pairs of real pictures (P, 2, C, H, W) in [-1, 1].

    The first two numbers of a model without an encoder are nan.
    """
    x = decode_all(model, paths.flatten(0, 1))
    return smoothness_of_frames(model, paths, x.reshape(*paths.shape[:2], *x.shape[1:]), pictures)


@torch.no_grad()
def smoothness_of_frames(model: Generator, paths: Tensor, x: Tensor, pictures: Tensor) -> Smoothness:
    """`smoothness` of paths whose frames x (P, N, C, H, W) are decoded already."""
    paths, pictures = paths.to(x.device), pictures.to(x.device)
    unknown = x.new_tensor(math.nan)
    cycle, off_manifold = _round_trip(model, paths, x, pictures) if has_encoder(model) else (unknown, unknown)

    mix = torch.linspace(0, 1, paths.shape[1], device=x.device)
    start, end = gradient_energy(pictures).unbind(1)
    expected = torch.lerp(start[:, None], end[:, None], mix)
    textured = expected.amin(1) > _FLAT
    sharp_mid = (gradient_energy(x) / expected)[textured].amin(1).mean()

    steps = (x[:, 1:] - x[:, :-1]).flatten(2).norm(dim=2)
    jump = (steps.amax(1) / steps.mean(1).clamp_min(1e-12)).mean()
    return Smoothness(cycle, off_manifold, sharp_mid, jump)


def _round_trip(vae: VAE, paths: Tensor, x: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """`cycle` and `off_manifold`, of frames x (P, N, C, H, W)."""
    inner, inner_z = x[:, 1:-1].flatten(0, 1), paths[:, 1:-1].flatten(0, 1)
    mu = encode_means(vae, inner)
    chord = (paths[:, -1] - paths[:, 0]).norm(dim=1).clamp_min(1e-12).repeat_interleave(paths.shape[1] - 2)
    cycle = ((mu - inner_z).norm(dim=1) / (0.5 * chord)).mean()

    real = pictures.flatten(0, 1)
    own_error = (decode_all(vae, encode_means(vae, real)) - real).square().mean()
    return cycle, (decode_all(vae, mu) - inner).square().mean() / own_error.clamp_min(1e-12)
