"""Walks: a path as a function of time, whatever it was made of."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data.system.errors import UserError
from vae.generator import Generator, has_encoder
from vae.latent import loops
from vae.latent.paths import PATHS
from vae.latent.route import find_route
from vae.metrics.perceptual import visible_change

PATH_NAMES = (*PATHS, "route")
_DENSE = 64  # stretches of a segment in which its visible change is measured


class Trajectory(NamedTuple):
    """A path as a function of time.

    Attributes:
        at: times (T,) in [0, segments] → latents (T, D).
        segments: its length in time; keyframes are at whole times.
        closed: whether it ends where it began.
        bent: of a route, which segments were bent (S,); else None.
    """

    at: Callable[[Tensor], Tensor]
    segments: int
    closed: bool
    bent: Tensor | None = None


def check_path(path: str, vae: Generator) -> None:
    """Raises `UserError` if a route is asked of a generator without an encoder."""
    if path == "route" and not has_encoder(vae):
        raise UserError("path route: asks an encoder, which a generator lacks; name other --paths")


def trajectory_along(
    path: str, vae: Generator, keyframes: Tensor, closed: bool, watch: Callable[[range], Iterable[int]] = iter
) -> Trajectory:
    """The walk along a path of `PATH_NAMES` through keyframes (K, D); `watch` sees a route being searched.

    Raises:
        UserError: fewer than two keyframes, or a route of a generator that has no encoder.
    """
    segments = len(keyframes) - (not closed)
    check_path(path, vae)
    if path == "route" and has_encoder(vae):
        route = find_route(vae, keyframes, closed, watch)
        return Trajectory(lambda t: vae.zero_inactive(route(t)), segments, closed, route.bends.flatten(1).any(1))
    return Trajectory(partial(_along, PATHS[path], keyframes, closed), segments, closed)


def _along(path: Any, keyframes: Tensor, closed: bool, t: Tensor) -> Tensor:
    return path(keyframes, t, closed)


def circle_trajectory(keyframes: Tensor) -> Trajectory:
    """Round the great circle through two keyframes."""
    loops.circle(keyframes, torch.zeros(1))
    return Trajectory(partial(loops.circle, keyframes), loops.QUARTERS, True)


def noise_trajectory(latents: Tensor) -> Trajectory:
    """A random walk made of latents (K, D)."""
    loops.noise(latents, torch.zeros(1))
    return Trajectory(partial(loops.noise, latents), len(latents), True)


def visible_change_of_segments(vae: Generator, walk: Trajectory) -> Tensor:
    """How much the picture changes in 64 equal stretches of each segment, (S, 64)."""
    places = torch.linspace(0, walk.segments, walk.segments * _DENSE + 1, dtype=torch.float64)
    return visible_change(vae, walk.at(places)).reshape(walk.segments, _DENSE)
