"""Dissolving pictures into one without losing contrast.

A mean of pictures whose details differ has less contrast than each: half the energy, if two have nothing in common. So
the detail of the mean x = Σ_i m_i a_i around its local mean gets the energy that the pictures have there on average:

    x̄ + g · (x − x̄),    g² = Σ_i m_i e(a_i) / e(x),    e(y) = blur (y − ȳ)²,    ȳ = blur y,    1 ≤ g ≤ 2

Where one m_i is 1, that is a_i itself. (Heitz and Neyret, *High-Performance By-Example Noise using a
Histogram-Preserving Blending Operator*, HPG 2018, preserve the variance of textures likewise.)
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vae.model.blur import blur

_LOCAL = 1 / 16  # of the side
_MOST_GAIN = 2.0
_FAINT = 1e-3  # of energies of pictures in [-1, 1]: less is no detail to the eye
_SIDE = 64  # local means and energies are smooth, so larger pictures take them enlarged


def dissolved(pictures: Tensor, shares: Tensor) -> Tensor:
    """One picture (1, C, H, H) of several (K, C, H, H) in [-1, 1], whose shares (K, 1, h, h) add up to 1."""
    side = pictures.shape[-1]
    x = (_resized(shares, side) * pictures).sum(0, keepdim=True)
    small = _resized(torch.cat([pictures, x]), min(side, _SIDE))
    mean = blur(small, _LOCAL * small.shape[-1])
    energies = blur((small - mean).square().mean(1, keepdim=True), _LOCAL * small.shape[-1])
    wanted = (_resized(shares, small.shape[-1]) * energies[:-1]).sum(0, keepdim=True)
    gain = ((wanted + _FAINT) / (energies[-1:] + _FAINT)).sqrt().clamp(1, _MOST_GAIN)
    mean, gain = _resized(mean[-1:], side), _resized(gain, side)
    return (mean + gain * (x - mean)).clamp(-1, 1)


def _resized(x: Tensor, side: int) -> Tensor:
    return x if x.shape[-1] == side else F.interpolate(x, (side, side), mode="bilinear", antialias=True)
