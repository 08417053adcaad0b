"""Closed paths that need few keyframes or none: a great circle, and a random walk that comes back."""

import math

import torch
from torch import Tensor

from data.system.errors import UserError
from vae.latent.paths import slerp

QUARTERS = 4  # segments of a great circle


def great_circle(keyframes: Tensor, t: Tensor) -> Tensor:
    """The great circle through two keyframes, at equal speed and equal length.

    z(t) = ℓ · (cos(πt/2) u + sin(πt/2) w), where u is the first keyframe's direction, w that at right angles to it on
    the way to the second, and ℓ the mean of their lengths, which the keyframes are brought to.

    Args:
        keyframes: (2, D).
        t: (T,), in [0, 4): a quarter turn each.

    Returns:
        (T, D) of the keyframes' dtype.

    Raises:
        UserError: not two keyframes, or two that lie in one line with the origin, through which many circles go.
    """
    if len(keyframes) != 2:
        raise UserError(f"{len(keyframes)} keyframes: a great circle goes through two; name two")
    exact = keyframes.double()
    lengths = exact.norm(dim=1, keepdim=True)
    u, v = exact / lengths.clamp_min(1e-300)
    w = v - (u @ v) * u
    if not w.norm() > 1e-6:
        raise UserError("these two keyframes are alike or opposite: many great circles go through them; take others")
    return slerp(lengths.mean() * torch.stack([u, w / w.norm()]), t).to(keyframes.dtype)


def noise_loop(latents: Tensor, t: Tensor) -> Tensor:
    """A smooth random walk of constant length that ends where it began; it visits none of its latents.

    z(t) = ℓ · y/‖y‖, y(t) = Σ_h a_h cos(2πht/K) + b_h sin(2πht/K), h = 1 … K/2, where a and b are the latents in turn
    and ℓ is the mean of their lengths: on a circle the Gaussian process whose spectrum is flat up to K/2.

    Args:
        latents: (K, D), an even number, from the prior.
        t: (T,), in [0, K).

    Returns:
        (T, D) of the latents' dtype.

    Raises:
        UserError: an odd number of latents, fewer than four, or of fewer than three dimensions.
    """
    count = len(latents)
    if count < 4 or count % 2:
        raise UserError(f"{count} latents: a random walk is made of 4, 6, 8 or more; draw so many with --count")
    if latents.shape[1] < 3:
        raise UserError(f"{latents.shape[1]} latent dimensions: are too few for a random walk; take three or more")
    harmonics = torch.arange(1, count // 2 + 1)
    phase = 2 * math.pi / count * t.double()[:, None] * harmonics
    y = phase.cos() @ latents[::2].double() + phase.sin() @ latents[1::2].double()
    length = latents.double().norm(dim=1).mean()
    return (length * y / y.norm(dim=1, keepdim=True).clamp_min(1e-300)).to(latents.dtype)
