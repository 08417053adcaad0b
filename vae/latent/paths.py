"""Paths through latent space: keyframes and times → latents. They know nothing of easing.

A path visits keyframe k at t = k. An open path over K keyframes lasts from 0 to K − 1, and outside goes on along its
first or last segment. A closed one lasts from 0 to K, where it is back at keyframe 0.
Fewer than two keyframes raise `UserError`. Latents are of the keyframes' dtype.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from data.system.errors import UserError
from data.system.spelling import counted

Path = Callable[[Tensor, Tensor, bool], Tensor]  # keyframes (K, D), times (T,), closed → latents (T, D)
_PARALLEL = 1e-7  # below this sine, a rounding error in float32 keyframes decides the plane of rotation
QUARTERS = 4  # segments of a great circle


def locate(t: Tensor, segments: int) -> tuple[Tensor, Tensor]:
    """The segment that each time (T,) falls into, and how much of it has passed; outside, the first or the last."""
    segment = t.floor().clamp(0, segments - 1).long()
    return segment, t - segment


def linear(keyframes: Tensor, t: Tensor, closed: bool = False) -> Tensor:
    """Straight lines: z(t) = (1 − f) a + f b between neighbours a and b, f the fractional part of t.

    Keyframes (K, D) and times (T,) → latents (T, D).

    >>> linear(torch.tensor([[0.0, 0.0], [2.0, 4.0]]), torch.tensor([0.0, 0.5, 1.0])).tolist()
    [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]
    """
    a, b, f = _segments(keyframes, t, closed)
    return ((1 - f) * a + f * b).to(keyframes.dtype)


def slerp(keyframes: Tensor, t: Tensor, closed: bool = False) -> Tensor:
    """Great circles: spherical interpolation of the directions, linear interpolation of the lengths.

    With a = |a| u, w the unit vector at right angles to u in the plane of a and b, and Ω the angle between them,

        z(t) = ((1 − f)|a| + f|b|) · (cos(fΩ) u + sin(fΩ) w)

    which for unit vectors is sin((1−f)Ω)/sin Ω · a + sin(fΩ)/sin Ω · b (Shoemake, *Animating Rotation with Quaternion
    Curves*, SIGGRAPH 1985, section 3.3), for latents of a Gaussian prior proposed by White, *Sampling Generative
    Networks*, 2016. Keyframes (K, D) and times (T,) → latents (T, D). Special cases:

    - equal directions: the straight line between them;
    - opposite directions: half a turn in the plane of a and the coordinate axis that a leans on least (the first of
      such axes), the same whenever a is the same;
    - a zero vector has no direction and takes its neighbour's: the straight line; two zeros stay zero;
    - outside of the path's times the rotation goes on; a length never falls below 0.
    """
    a, b, f = _segments(keyframes, t, closed)
    length_a, length_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    u = torch.where(length_a > 0, a / length_a.clamp_min(1e-300), b / length_b.clamp_min(1e-300))
    v = torch.where(length_b > 0, b / length_b.clamp_min(1e-300), u)
    angle = 2 * torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True))

    w = v - (u * v).sum(1, keepdim=True) * u
    axis = torch.zeros_like(u).scatter(1, u.abs().argmin(1, keepdim=True), 1.0)
    w = torch.where(w.norm(dim=1, keepdim=True) > _PARALLEL, w, axis - (u * axis).sum(1, keepdim=True) * u)
    w = w / w.norm(dim=1, keepdim=True).clamp_min(1e-300)

    length = ((1 - f) * length_a + f * length_b).clamp_min(0)
    return (length * ((f * angle).cos() * u + (f * angle).sin() * w)).to(keyframes.dtype)


def spline(keyframes: Tensor, t: Tensor, closed: bool = False) -> Tensor:
    """A curve without a kink: velocity and acceleration are continuous, across the seam of a closed path too.

    A cubic spline s(t) goes through the keyframes and another, r(t), through their lengths; the path is s
    scaled to those lengths, because the latents of a Gaussian prior lie near a sphere:

        z(t) = s(t) · g(‖s(t)‖ / r(t)),    g(ρ) = 1/ρ for ρ ≥ ½, else 15/4 − 10 ρ² + 12 ρ⁴

    Both are natural splines (no acceleration at the ends) where open and periodic ones where closed (de Boor, *A
    Practical Guide to Splines*, 1978, chapter IV). The polynomial continues 1/ρ with its slope and curvature: between
    keyframes that lie nearly opposite z passes by the origin, or through it, instead of jumping round it.
    Keyframes (K, D) and times (T,) → latents (T, D).
    """
    s = _cubic(keyframes, t, closed)
    length = _cubic(keyframes.norm(dim=1, keepdim=True), t, closed).clamp_min(0)
    rho = s.norm(dim=1, keepdim=True) / length.clamp_min(1e-300)
    scale = torch.where(rho < 0.5, 3.75 - 10 * rho**2 + 12 * rho**4, 1 / rho.clamp_min(0.5))
    return (s * scale).to(keyframes.dtype)


BETWEEN_TWO: dict[str, Path] = {"linear": linear, "slerp": slerp}  # where a spline is the great circle again
PATHS = {**BETWEEN_TWO, "spline": spline}


def great_circle(keyframes: Tensor, t: Tensor) -> Tensor:
    """The great circle through two keyframes, at equal speed and equal length, a quarter turn for each unit of t.

    z(t) = ℓ · (cos(πt/2) u + sin(πt/2) w), where u is the first keyframe's direction, w that at right angles to it on
    the way to the second, and ℓ the mean of their lengths, which the keyframes are brought to. Many circles go through
    two keyframes that lie in one line with the origin: they are refused.
    """
    if len(keyframes) != 2:
        raise UserError(f"{counted(len(keyframes), 'keyframe')}: a great circle goes through two; name two")
    exact = keyframes.double()
    lengths = exact.norm(dim=1, keepdim=True)
    u, v = exact / lengths.clamp_min(1e-300)
    w = v - (u @ v) * u
    if not w.norm() > 1e-6:
        raise UserError("these two keyframes are alike or opposite: many great circles go through them; take others")
    return slerp(lengths.mean() * torch.stack([u, w / w.norm()]), t).to(keyframes.dtype)


def noise_loop(latents: Tensor, t: Tensor) -> Tensor:
    """A smooth random walk of constant length through [0, K] that ends where it began; it visits none of its latents.

    z(t) = ℓ · y/‖y‖, y(t) = Σ_h a_h cos(2πht/K) + b_h sin(2πht/K), h = 1 … K/2, where a and b are the K latents in turn
    and ℓ is the mean of their lengths: on a circle the Gaussian process whose spectrum is flat up to K/2. An odd number
    of latents, fewer than four, or of fewer than three dimensions are refused.
    """
    count = len(latents)
    if count < 4 or count % 2:
        raise UserError(f"{count} latents: a random walk is made of 4, 6, 8 or more; draw so many with --count")
    if latents.shape[1] < 3:
        raise UserError(f"{latents.shape[1]} latent dimensions: are too few for a random walk; take three or more")
    harmonics = torch.arange(1, count // 2 + 1, device=t.device)
    phase = 2 * math.pi / count * t.double()[:, None] * harmonics
    y = phase.cos() @ latents[::2].double() + phase.sin() @ latents[1::2].double()
    length = latents.double().norm(dim=1).mean()
    return (length * y / y.norm(dim=1, keepdim=True).clamp_min(1e-300)).to(latents.dtype)


def _cubic(points: Tensor, t: Tensor, closed: bool) -> Tensor:
    """The cubic spline through points (K, D) at whole times, natural where open, periodic where closed: (T, D).

    The second derivatives m obey m_(k−1) + 4 m_k + m_(k+1) = 6 (p_(k−1) − 2 p_k + p_(k+1)).
    """
    a, b, f = _segments(points, t, closed)
    points = points.to(a)
    eye = torch.eye(len(points)).to(points)
    sums = 4 * eye + eye.roll(1, 0) + eye.roll(-1, 0)
    curvature = 6 * (points.roll(1, 0) - 2 * points + points.roll(-1, 0))
    if not closed:
        sums[[0, -1]], curvature[[0, -1]] = eye[[0, -1]], 0
    m_a, m_b, _ = _segments(torch.linalg.solve(sums, curvature), t, closed)
    g = 1 - f
    return g * a + f * b + ((g**3 - g) * m_a + (f**3 - f) * m_b) / 6


def _segments(keyframes: Tensor, t: Tensor, closed: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The segment that each time falls into, in float64: its ends (T, D) and the fraction (T, 1) that has passed."""
    count = len(keyframes)
    if keyframes.ndim != 2 or count < 2:
        raise UserError(f"{count} keyframe{'s' * (count != 1)}: a path needs two or more; give more")
    exact = torch.float32 if keyframes.device.type == "mps" else torch.float64  # which MPS lacks
    segment, passed = locate(t.to(exact), count if closed else count - 1)
    points = keyframes.to(exact)
    return points[segment], points[(segment + 1) % count], passed[:, None]
