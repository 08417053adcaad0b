"""Trajectories: a path through given keyframes as a function of time alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from data.system.errors import UserError
from vae.generator import Generator, has_encoder, zero_inactive
from vae.latent.paths import PATHS
from vae.latent.route import find_route
from vae.metrics.perceptual import visible_change

PATH_NAMES = (*PATHS, "route")
_STRETCHES = 63  # of a segment, whose visible change is measured: with its ends, two full batches


@dataclass(frozen=True)
class Trajectory:
    """A path as a function of time. Raises `UserError` for keyframes that the path cannot have.

    Attributes:
        at: times (T,) in [0, segments] → latents (T, D), on the CPU.
        segments: its length in time; keyframes are at whole times.
        closed: whether it ends where it began.
        bent: of a route, which segments are not a spline's (S,); else None.
    """

    at: Callable[[Tensor], Tensor]
    segments: int
    closed: bool
    bent: Tensor | None = None

    def __post_init__(self) -> None:
        self.at(torch.zeros(1))


def path_trajectory(
    path: str, model: Generator, keyframes: Tensor, closed: bool, progress: Callable[[range], Iterable[int]] = iter
) -> Trajectory:
    """The trajectory of a path of `PATH_NAMES` through keyframes (K, D) on the CPU.

    The model, in eval mode, is used by a route alone; `progress` wraps the steps of the search for one, in a progress
    bar for example.

    Raises:
        UserError: fewer than two keyframes, or a route of a generator that has no encoder.
    """
    segments = len(keyframes) - (not closed)
    if path == "route":
        if not has_encoder(model):
            raise UserError("path route: needs an encoder, which a generator lacks; name other --paths")
        route = find_route(model, zero_inactive(model, keyframes), closed, progress)
        return Trajectory(route, segments, closed, route.coefficients.flatten(1).any(1))
    return Trajectory(lambda t: PATHS[path](keyframes, t, closed), segments, closed)


def visible_change_per_stretch(draw: Callable[[Tensor], Iterable[Tensor]], segments: int) -> Tensor:
    """The visible change in each of 63 stretches of equal duration of each segment, (S, 63).

    At times (T,) the pictures are drawn in batches (N, C, H, W).
    """
    t = torch.linspace(0, segments, segments * _STRETCHES + 1, dtype=torch.float64)
    return visible_change(draw(t)).reshape(segments, _STRETCHES)
