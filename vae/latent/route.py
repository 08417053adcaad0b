"""A path that stays where the model is at home, found by a short optimisation.

Between keyframes a spline cuts across places whose pictures are torn, soft or grey. A route leaves it by

    z(t) = spline(t) + Σ_j c_j sin²(πf) sin(jπf),    j = 1 … J, f the fractional part of t

which keeps the keyframes, the velocity and the acceleration there. The c_j of each segment are those for which

- the encoder finds the latents again: `cycle` of `vae.metrics.smoothness`;
- no frame is blurrier than the mix of the keyframes: Σ max(0, 1 − G(x)/mix), which is what `sharp_mid` looks at;
- the picture takes no detour: the visible change, squared and summed over equal steps, over its least possible sum.

The last term alone, the pull-back energy of the geodesics of Shao, Kumar and Fletcher (*The Riemannian Geometry of Deep
Generative Models*, CVPRW 2018), is least for a cross-fade; the first two are what forbids that.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from vae.latent.paths import locate, spline
from vae.metrics.perceptual import pyramid
from vae.metrics.smoothness import gradient_energy
from vae.model.vae import VAE

_BENDS = 3
_LOOKED_AT = 10  # steps in a segment
_STEPS, _RATE = 40, 0.1
_AT_ONCE = 8  # segments
APART = 1e-3  # keyframes closer than this are one
_DETOUR = 0.05


class Route(NamedTuple):
    """A path of times alone.

    Attributes:
        keyframes: (K, D).
        closed: whether it returns to the first.
        bends: (S, J, D), the c_j of each segment; 0 where the spline was as good.
    """

    keyframes: Tensor
    closed: bool
    bends: Tensor

    def __call__(self, t: Tensor) -> Tensor:
        """Latents (T, D) at times (T,)."""
        return spline(self.keyframes, t, self.closed) + self.away(t)

    def along(self, steps: int) -> Tensor:
        """Latents at evenly spaced times in each segment, both its ends among them: (S, steps + 1, D)."""
        segments = len(self.bends)
        t = torch.arange(segments)[:, None] + torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        return self(t.flatten()).reshape(segments, steps + 1, -1)

    def away(self, t: Tensor) -> Tensor:
        """How far the route is from the spline at times (T,): Σ_j c_j sin²(πf) sin(jπf), (T, D)."""
        segment, passed = locate(t, len(self.bends))
        return torch.einsum("tj,tjd->td", _waves(passed).to(self.bends), self.bends[segment])


def _waves(f: Tensor) -> Tensor:
    """sin²(πf) sin(jπf): (T,) → (T, J)."""
    f, j = math.pi * f[:, None], torch.arange(1, _BENDS + 1)
    return f.sin().square() * (f * j).sin()


class _Look(NamedTuple):
    """What is seen on the way through each segment, each (S,)."""

    cycle: Tensor
    blur: Tensor
    blurriest: Tensor
    detour: Tensor


def _look(vae: VAE, z: Tensor) -> _Look:
    """Looks at segments (S, M, D) that begin and end at keyframes."""
    segments, places, _ = z.shape
    x = vae.decode(z.flatten(0, 1))
    missed = (vae.encode(x)[0].reshape(z.shape) - z).norm(dim=2)[:, 1:-1]
    chord = (z[:, -1] - z[:, 0]).norm(dim=1, keepdim=True).clamp_min(1e-6)

    sharp = gradient_energy(x).reshape(segments, places)
    mix = torch.linspace(0, 1, places).to(sharp)
    expected = torch.lerp(sharp[:, :1], sharp[:, -1:], mix)
    lost = (1 - sharp / expected.clamp_min(1e-12)).clamp_min(0)

    seen = pyramid(x).reshape(segments, places, -1)
    steps = seen.diff(dim=1).square().sum((1, 2)) * (places - 1)
    straight = (seen[:, -1] - seen[:, 0]).square().sum(1).clamp_min(1e-12)
    return _Look((missed / (chord / 2)).mean(1), lost.mean(1), lost.amax(1), steps / straight)


def find_route(
    vae: VAE, keyframes: Tensor, closed: bool = False, watch: Callable[[range], Iterable[int]] = iter
) -> Route:
    """Bends each segment until it stays among pictures, and keeps the spline where that is no better.

    A segment is bent only if both its `cycle` becomes smaller and its blurriest frame no blurrier, measured between the
    places that the optimisation looked at.

    Args:
        vae: in eval mode.
        keyframes: (K, D), two or more.
        closed: return to keyframe 0.
        watch: sees the steps go by, a progress bar for example.

    Raises:
        UserError: fewer than two keyframes.
    """
    segments = len(keyframes) - (not closed)
    route = Route(keyframes, closed, torch.zeros(segments, _BENDS, keyframes.shape[1]))
    straight = route.along(_LOOKED_AT)
    apart = (straight[:, -1] - straight[:, 0]).norm(dim=1) > APART
    if not apart.any():
        return route
    waves = _waves(torch.linspace(0, 1, _LOOKED_AT + 1)).to(keyframes)
    bends = route.bends.clone()
    adam = torch.optim.Adam([bends], _RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, _STEPS)
    bends.grad = torch.zeros_like(bends)
    for _ in watch(range(_STEPS)):
        for some in torch.split(torch.arange(segments), _AT_ONCE):
            bend = bends[some].requires_grad_(True)
            seen = _look(vae, straight[some] + torch.einsum("mj,sjd->smd", waves, bend))
            loss = seen.cycle + seen.blur + 0.5 * seen.blurriest + _DETOUR * seen.detour
            (bends.grad[some],) = torch.autograd.grad(loss.sum(), [bend])
        adam.step()
        falling.step()

    bent = route._replace(bends=bends)
    with torch.no_grad():
        pairs = [torch.split(path.along(_LOOKED_AT + 3), _AT_ONCE) for path in (route, bent)]
        seen_of = [[_look(vae, some) for some in parts] for parts in pairs]
    before, after = (_Look(*map(torch.cat, zip(*parts, strict=True))) for parts in seen_of)
    better = apart & (after.cycle < before.cycle) & (after.blurriest <= before.blurriest)
    return bent._replace(bends=bends * better[:, None, None])
