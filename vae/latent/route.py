"""A path that stays where the model is at home, found by a short optimisation.

Between keyframes a spline cuts across places whose pictures are torn, soft or grey. A route leaves it by

    z(t) = spline(t) + Σ_j c_j sin²(πf) sin(jπf),    j = 1 … J, f the fractional part of t

which keeps the keyframes, the velocity and the acceleration there. The c_j of each segment minimise the sum of

- the round trip's error: `cycle` of `vae.metrics.smoothness`;
- blur beyond the mix of the keyframes: Σ max(0, 1 − G(x)/mix), G the gradient energy, as in `sharp_mid`;
- the detour: the visible change, squared and summed over equal steps, over its least possible sum.

The last term alone, the pull-back energy of the geodesics of Shao, Kumar and Fletcher (*The Riemannian Geometry of Deep
Generative Models*, CVPRW 2018), is least for a cross-fade; the first two are what forbids that.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vae.generator import zero_inactive
from vae.latent.paths import locate, spline
from vae.metrics.perceptual import pyramid
from vae.metrics.smoothness import gradient_energy
from vae.model.vae import VAE

_TERMS = 3  # J
_SEARCH_STEPS, _CHECK_STEPS = 10, 13  # of a segment, whose ends are decoded; the check lies between the places searched
_ITERATIONS, _LEARNING_RATE = 20, 0.2
_SEGMENTS_AT_ONCE = 8
MIN_DISTANCE = 1e-3  # of two keyframes; closer ones are the same
_DETOUR_WEIGHT = 0.06


@dataclass(frozen=True)
class Route:
    """A path through keyframes (K, D) as a function of time alone."""

    keyframes: Tensor
    closed: bool
    coefficients: Tensor  # (S, J, D), the c_j of each segment; 0 where the route is the spline

    def __call__(self, t: Tensor) -> Tensor:
        segment, passed = locate(t, len(self.coefficients))
        offset = torch.einsum("tj,tjd->td", _basis(passed).to(self.coefficients), self.coefficients[segment])
        return spline(self.keyframes, t, self.closed) + offset

    def sample(self, steps: int) -> Tensor:
        """Latents at evenly spaced times in each segment, its two ends included: (S, steps + 1, D)."""
        segments = len(self.coefficients)
        t = torch.arange(segments)[:, None] + torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        return self(t.flatten()).reshape(segments, steps + 1, -1)


def _basis(f: Tensor) -> Tensor:
    """sin²(πf) sin(jπf): (T,) → (T, J)."""
    f, j = math.pi * f[:, None], torch.arange(1, _TERMS + 1)
    return f.sin().square() * (f * j).sin()


class _Costs(NamedTuple):
    """The terms that a route minimises, of each segment, (S,)."""

    cycle: Tensor
    blur: Tensor
    largest_blur: Tensor
    detour: Tensor


def _costs(vae: VAE, z: Tensor) -> _Costs:
    """The costs of segments (S, M, D) that begin and end at keyframes, on the model's device."""
    segments, places, _ = z.shape
    x = vae.decode(z.flatten(0, 1))
    error = (vae.encode(x)[0].reshape(z.shape) - z).norm(dim=2)[:, 1:-1]
    chord = (z[:, -1] - z[:, 0]).norm(dim=1, keepdim=True).clamp_min(1e-6)

    energy = gradient_energy(x).reshape(segments, places)
    mix = torch.linspace(0, 1, places).to(energy)
    expected = torch.lerp(energy[:, :1], energy[:, -1:], mix)
    blur = (1 - energy / expected.clamp_min(1e-12)).clamp_min(0)

    points = pyramid(x).reshape(segments, places, -1)
    steps = points.diff(dim=1).square().sum((1, 2)) * (places - 1)
    direct = (points[:, -1] - points[:, 0]).square().sum(1).clamp_min(1e-12)
    return _Costs((error / (chord / 2)).mean(1), blur.mean(1), blur.amax(1), steps / direct)


def find_route(
    vae: VAE, keyframes: Tensor, closed: bool = False, progress: Callable[[range], Iterable[int]] = iter
) -> Route:
    """The route through keyframes (K, D), two or more, on the CPU, searched on the device of a model in eval mode.

    A segment leaves the spline only if both its `cycle` becomes smaller and its blurriest frame no blurrier, measured
    between the places that the optimisation saw. `progress` wraps the steps of the search, in a progress bar for
    example.
    """
    segments = len(keyframes) - (not closed)
    splines = Route(keyframes, closed, torch.zeros(segments, _TERMS, keyframes.shape[1]))
    z = splines.sample(_SEARCH_STEPS)
    apart = (z[:, -1] - z[:, 0]).norm(dim=1) > MIN_DISTANCE
    if not apart.any():
        return splines
    z = z.to(vae.device)
    basis = _basis(torch.linspace(0, 1, _SEARCH_STEPS + 1)).to(z)
    coefficients = splines.coefficients.to(z, copy=True)
    coefficients.grad = torch.zeros_like(coefficients)
    adam = torch.optim.Adam([coefficients], _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, _ITERATIONS)
    for _ in progress(range(_ITERATIONS)):
        for some in torch.split(torch.arange(segments), _SEGMENTS_AT_ONCE):
            c = coefficients[some].requires_grad_(True)
            costs = _costs(vae, z[some] + torch.einsum("mj,sjd->smd", basis, c))
            loss = costs.cycle + costs.blur + 0.5 * costs.largest_blur + _DETOUR_WEIGHT * costs.detour
            (coefficients.grad[some],) = torch.autograd.grad(loss.sum(), [c])
        adam.step()
        schedule.step()

    route = Route(keyframes, closed, zero_inactive(vae, coefficients.detach().cpu()))
    before, after = _measured(vae, splines), _measured(vae, route)
    better = apart & (after.cycle < before.cycle) & (after.largest_blur <= before.largest_blur)
    return Route(keyframes, closed, route.coefficients * better[:, None, None])


@torch.no_grad()
def _measured(vae: VAE, route: Route) -> _Costs:
    """The costs of a route's segments, on the CPU."""
    parts = torch.split(route.sample(_CHECK_STEPS).to(vae.device), _SEGMENTS_AT_ONCE)
    costs = zip(*(_costs(vae, some) for some in parts), strict=True)
    return _Costs(*(torch.cat(term).cpu() for term in costs))
