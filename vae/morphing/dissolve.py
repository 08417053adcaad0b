"""Dissolving pictures into one, coarse colours first, without losing contrast.

Where two pictures are mixed, both are seen at once, the more so the finer their detail. So they are split into bands,
and the finer a band is, the sooner one picture has all of it (as in the multiresolution spline of Burt and Adelson, ACM
TOG 2(4), 1983, whose seams are the sharper the finer the band):

    x = Σ_b Σ_i m_ib · band_b(a_i),    m_ib ∝ m_i^{p_b},    p_b = 5, 3, 2, 1.5 from fine to coarse

What is still mixed has less contrast than each picture: half the energy, if two have nothing in common. So the detail
of x around its local mean gets the energy that the pictures have there on average:

    x̄ + g · (x − x̄),    g² = Σ_i m_i e(a_i) / e(x),    e(y) = blur (y − ȳ)²,    ȳ = blur y,    1 ≤ g ≤ 2

(Heitz and Neyret, *High-Performance By-Example Noise using a Histogram-Preserving Blending Operator*, HPG 2018,
preserve the variance of textures likewise.) Where one m_i is 1, the result is a_i itself.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vae.model.blur import blur

_BANDS = ((32, 5.0), (16, 3.0), (8, 2.0))  # what is finer than so many pixels a side show, and p_b
_COARSE = 1.5  # p_b of what is left
_LOCAL = 1 / 16  # of the side
_MOST_GAIN = 2.0
_FAINT = 1e-3  # of energies of pictures in [-1, 1]: less is no detail to the eye
_SIDE = 64  # local means and energies are smooth, so larger pictures take them enlarged


def dissolved(pictures: Tensor, shares: Tensor) -> Tensor:
    """One picture (1, C, H, H) of several (K, C, H, H) in [-1, 1], whose shares (K, 1, h, h) add up to 1."""
    side = pictures.shape[-1]
    x = _mixed_by_bands(pictures, _resized(shares, side))
    small = _resized(torch.cat([pictures, x]), min(side, _SIDE))
    mean = blur(small, _LOCAL * small.shape[-1])
    energies = blur((small - mean).square().mean(1, keepdim=True), _LOCAL * small.shape[-1])
    wanted = (_resized(shares, small.shape[-1]) * energies[:-1]).sum(0, keepdim=True)
    gain = ((wanted + _FAINT) / (energies[-1:] + _FAINT)).sqrt().clamp(1, _MOST_GAIN)
    mean, gain = _resized(mean[-1:], side), _resized(gain, side)
    return (mean + gain * (x - mean)).clamp(-1, 1)


def _mixed_by_bands(pictures: Tensor, shares: Tensor) -> Tensor:
    """Σ_b Σ_i m_ib · band_b(a_i), (1, C, H, H)."""
    side, total = pictures.shape[-1], torch.zeros_like(pictures[:1])
    for pixels, power in _BANDS:
        coarse = _resized(_resized(pictures, pixels), side)
        total += (_sharpened(shares, power) * (pictures - coarse)).sum(0)
        pictures = coarse
    return total + (_sharpened(shares, _COARSE) * pictures).sum(0)


def _sharpened(shares: Tensor, power: float) -> Tensor:
    """m_ib ∝ m_i^{p_b}."""
    powers = shares**power
    return powers / powers.sum(0)


def _resized(x: Tensor, side: int) -> Tensor:
    return x if x.shape[-1] == side else F.interpolate(x, (side, side), mode="bilinear", antialias=True)
