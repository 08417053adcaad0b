"""Trajectories: a path through given keyframes as a function of time alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from data.system.errors import UserError
from vae.generator import Generator, has_encoder, zero_inactive
from vae.latent.loops import QUARTERS, great_circle, noise_loop
from vae.latent.paths import PATHS
from vae.latent.route import find_route
from vae.metrics.perceptual import visible_change

PATH_NAMES = (*PATHS, "route")
_STRETCHES = 64  # of a segment, whose visible change is measured


@dataclass(frozen=True)
class Trajectory:
    """A path as a function of time.

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


def check_path(path: str, model: Generator) -> None:
    """Raises `UserError` if a route is asked of a generator without an encoder."""
    if path == "route" and not has_encoder(model):
        raise UserError("path route: needs an encoder, which a generator lacks; name other --paths")


def path_trajectory(
    path: str, model: Generator, keyframes: Tensor, closed: bool, progress: Callable[[range], Iterable[int]] = iter
) -> Trajectory:
    """The trajectory of a path of `PATH_NAMES` through keyframes.

    Args:
        path: its name.
        model: in eval mode; used by a route alone.
        keyframes: (K, D), two or more, on the CPU.
        closed: return to keyframe 0.
        progress: wraps the steps of the search for a route, in a progress bar for example.

    Raises:
        UserError: fewer than two keyframes, or a route of a generator that has no encoder.
    """
    segments = len(keyframes) - (not closed)
    check_path(path, model)
    if path == "route" and has_encoder(model):
        route = find_route(model, zero_inactive(model, keyframes), closed, progress)
        return Trajectory(route, segments, closed, route.coefficients.flatten(1).any(1))
    function = PATHS[path]
    function(keyframes, torch.zeros(1), closed)  # raises what it has to
    return Trajectory(lambda t: function(keyframes, t, closed), segments, closed)


def great_circle_trajectory(keyframes: Tensor) -> Trajectory:
    """The great circle through two keyframes (2, D), see `vae.latent.loops.great_circle`."""
    great_circle(keyframes, torch.zeros(1))
    return Trajectory(lambda t: great_circle(keyframes, t), QUARTERS, True)


def noise_trajectory(latents: Tensor) -> Trajectory:
    """The closed random walk made of latents (K, D), see `vae.latent.loops.noise_loop`."""
    noise_loop(latents, torch.zeros(1))
    return Trajectory(lambda t: noise_loop(latents, t), len(latents), True)


def visible_change_per_stretch(model: Generator, trajectory: Trajectory) -> Tensor:
    """The visible change in each of 64 stretches of equal duration of each segment, (S, 64)."""
    t = torch.linspace(0, trajectory.segments, trajectory.segments * _STRETCHES + 1, dtype=torch.float64)
    return visible_change(model, trajectory.at(t)).reshape(trajectory.segments, _STRETCHES)
