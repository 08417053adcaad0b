"""The LINES benchmark: how well a path between two lines turns the one into the other.

Berthelot, Raffel, Roy and Goodfellow (see `data.synthetic.lines`), section 4.1: 256 pairs of fresh lines, 16 frames a
pair, both ends among them. Of every frame the nearest of 10,000 true lines is found by cosine distance on pixels in
[-1, 1].
The paper's two scores say nothing of the ends and of the sense of rotation, so there are three more.
"""

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from data.rng import uniform
from data.synthetic.lines import draw

PAIRS, FRAMES = 256, 16
_ANGLES = 10_000


class LineScores(NamedTuple):
    """Means over the pairs, each (); 0 is best.

    Attributes:
        distance: mean over all frames of the cosine distance to the nearest line: 0 where all are lines.
        smoothness: max_i |Δ_i| / |Σ_i Δ_i| − 1/(N − 1), Δ_i the steps of the nearest line's angle: 0 if even.
            A pair that turns by less than 1e-4 counts as 0.
        end_error: degrees between the first and last frames' nearest lines and the true ones.
        long_way: the share of the pairs that turn by the larger of the two angles.
        backtracking: Σ_i |Δ_i| / |Σ_i Δ_i| − 1, capped at 10: 0 where it never turns back.
    """

    distance: Tensor
    smoothness: Tensor
    end_error: Tensor
    long_way: Tensor
    backtracking: Tensor


def pairs(seed: int, count: int = PAIRS) -> Tensor:
    """Angles of fresh pairs, (count, 2) in [0, 2π)."""
    return 2 * math.pi * uniform(seed, torch.arange(count), 2).double()


def images(angles: Tensor) -> Tensor:
    """Lines at any number of angles (...): (..., 1, 32, 32) in [-1, 1]."""
    return 2 * draw(angles.flatten().float())[..., 0].reshape(*angles.shape, 1, 32, 32) - 1


def _turn(difference: Tensor) -> Tensor:
    """A difference of angles, the short way round: in [-π, π)."""
    return (difference + math.pi) % (2 * math.pi) - math.pi


@cache
def _references() -> tuple[Tensor, Tensor]:
    """10,000 angles and their lines, flat and of length 1."""
    angles = torch.arange(_ANGLES, dtype=torch.float64) * (2 * math.pi / _ANGLES)
    return angles, normalize(images(angles).flatten(1))


def nearest(frames: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest of 10,000 true lines.

    Args:
        frames: (N, 1, 32, 32) in [-1, 1].

    Returns:
        angles (N,) in radians; cosine distances (N,).
    """
    angles, references = _references()
    found = [(batch @ references.T).max(1) for batch in torch.split(normalize(frames.flatten(1)), 1024)]
    distances = (1 - torch.cat([f.values for f in found])).clamp_min(0)
    return angles[torch.cat([f.indices for f in found])], distances


def score(frames: Tensor, angles: Tensor) -> LineScores:
    """Scores paths between lines.

    Args:
        frames: (P, N, 1, 32, 32) in [-1, 1].
        angles: (P, 2) of the true lines at the ends, in radians.
    """
    count, length = frames.shape[:2]
    flat_angles, distances = nearest(frames.flatten(0, 1).float())
    found = flat_angles.reshape(count, length)
    steps = _turn(found.diff(dim=1))
    total = steps.sum(1).abs()
    turned = total > 1e-4
    share = 1 / total.clamp_min(1e-4)
    smoothness = torch.where(turned, steps.abs().amax(1) * share - 1 / (length - 1), 0)
    backtracking = torch.where(turned, steps.abs().sum(1) * share - 1, 0).clamp(0, 10)
    end_error = _turn(found[:, [0, -1]] - angles).abs().rad2deg()
    return LineScores(
        distances.mean(), smoothness.mean(), end_error.mean(), (total > math.pi).double().mean(), backtracking.mean()
    )


def controls(angles: Tensor, length: int = FRAMES) -> dict[str, Tensor]:
    """Paths whose quality is known, to compare scores with: (P, N, 1, 32, 32) each, for angles (P, 2).

    `rotation` turns the line evenly, the short way; `cross-fade` mixes the two pictures; `hard cut` shows the one for
    the first half and then the other.
    """
    t = torch.linspace(0, 1, length, dtype=torch.float64)
    start, end = images(angles).unbind(1)
    mix = t.float()[None, :, None, None, None]
    return {
        "rotation": images(angles[:, :1] + _turn(angles[:, 1:] - angles[:, :1]) * t),
        "cross-fade": torch.lerp(start[:, None], end[:, None], mix),
        "hard cut": torch.where(mix < 0.5, start[:, None], end[:, None]),
    }
