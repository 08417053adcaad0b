"""Clips: trajectories of models through keyframes, as the options of a command ask for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from tqdm import tqdm

from data.system.errors import UserError
from vae.generator import Generator, prior_latents
from vae.latent.keyframes import Keyframe, latents_of, parse_keyframe
from vae.latent.paths import QUARTERS, great_circle, noise_loop
from vae.latent.trajectory import PATH_NAMES, Trajectory, path_trajectory
from vae.render.options import KeyframeOptions, PathName, parse_grid
from vae.tuning.keyframe_tuning import tuned_to_pictures


@dataclass(frozen=True)
class GridOptions:
    """Many animations at once.

    Args:
        grid: 4x3, for example: four by three animations in step, each through random keyframes of its own.
    """

    grid: Annotated[tuple[int, int] | None, parse_grid] = None

    @property
    def columns(self) -> int:
        return self.grid[0] if self.grid else 1


@dataclass(frozen=True)
class LoopOptions:
    """The path of a loop.

    Args:
        path: through the keyframes; a spline has no kink anywhere.
        style: `keyframes`: through all of them; `circle`: the great circle through two, which are brought to the mean
            of their lengths; `noise`: a random walk of constant length, made of an even number of latents.
    """

    path: PathName = "spline"
    style: Literal["keyframes", "circle", "noise"] = "keyframes"


@dataclass(frozen=True)
class Clip:
    """One trajectory of one model, and its name in a comparison."""

    label: str
    model: Generator
    trajectory: Trajectory
    keyframes: tuple[Keyframe, ...] = ()  # that it visits, the first again at the end of a loop


def choose_keyframes(
    model: Generator, options: KeyframeOptions, default: int, least: int, reason: str, tile: int = 0
) -> list[Keyframe]:
    """The keyframes that the options list, or else draw: so many by default, and others for each tile of a grid.

    Raises:
        UserError: fewer than the least, for that reason, or one that cannot be read.
    """
    words = options.keyframes
    for name, value in (("count", options.count), ("seed", options.seed)):
        if words and value is not None:
            raise UserError(f"--{name}: is for random keyframes; leave it out beside --keyframes")
    count = len(words) or options.count or default
    if count < least:
        raise UserError(f"{count} keyframes: give {least} or more with --count or --keyframes; {reason}")
    if words:
        return [parse_keyframe(model, word, options.truncation) for word in words]
    z = prior_latents(model, options.seed or 0, (tile + 1) * count, options.truncation)
    return [Keyframe(one) for one in z[-count:]]


def path_clip(label: str, path: str, model: Generator, keyframes: Sequence[Keyframe], closed: bool = False) -> Clip:
    """The clip along a path through keyframes; a progress bar shows the search for a route."""
    trajectory = path_trajectory(
        path, model, latents_of(keyframes), closed, lambda steps: tqdm(steps, "Searching a route", leave=False, delay=1)
    )
    return Clip(label, model, trajectory, (*keyframes, *keyframes[:closed]))


def path_clips(path: str, model: Generator, options: KeyframeOptions, grid: GridOptions) -> list[Clip]:
    """The clips of a command that is a path, one for each tile of the grid."""
    tiles = _tiles(options, grid)
    chosen = [choose_keyframes(model, options, 2, 2, "a path needs two ends", tile) for tile in tiles]
    return [path_clip(path, path, tuned_to_pictures(model, each, options.tune), each) for each in chosen]


def loop_clips(
    model: Generator, options: KeyframeOptions, grid: GridOptions, loop: LoopOptions, hold: int
) -> list[Clip]:
    """The clips of the command `loop`, one for each tile of the grid."""
    if loop.style != "keyframes" and (loop.path != "spline" or hold):
        raise UserError(f"--style {loop.style}: has a path of its own without keyframes; leave --path and --hold out")
    if loop.style == "noise" and options.keyframes:
        raise UserError("--style noise: visits no keyframes; name a walk with --seed")
    return [_loop_clip(model, options, loop, tile) for tile in _tiles(options, grid)]


def _loop_clip(model: Generator, options: KeyframeOptions, loop: LoopOptions, tile: int) -> Clip:
    if loop.style == "circle":
        keyframes = choose_keyframes(model, options, 2, 2, "a great circle goes through two", tile)
        z = latents_of(keyframes)
        circle = Trajectory(partial(great_circle, z), QUARTERS, True)
        mean = z.norm(dim=1).mean()
        on_circle = [keyframe._replace(z=keyframe.z * mean / keyframe.z.norm()) for keyframe in keyframes]
        return Clip("circle", tuned_to_pictures(model, on_circle, options.tune), circle)
    if loop.style == "noise":
        z = latents_of(choose_keyframes(model, options, 4, 4, "a random walk is made of 4, 6, 8 or more", tile))
        return Clip("noise", model, Trajectory(partial(noise_loop, z), len(z), True))
    keyframes = choose_keyframes(model, options, 4, 3, "a loop through fewer would go back the way it came", tile)
    model = tuned_to_pictures(model, keyframes, options.tune)
    return path_clip(loop.path, loop.path, model, keyframes, closed=True)


def _tiles(options: KeyframeOptions, grid: GridOptions) -> range:
    if grid.grid and options.keyframes:
        raise UserError("--grid: each tile draws keyframes of its own; leave --keyframes out")
    columns, rows = grid.grid or (1, 1)
    return range(columns * rows)


def comparison_clips(
    models: Mapping[str, Generator], options: KeyframeOptions, paths: Sequence[str]
) -> tuple[list[Clip], int]:
    """The clips of the command `compare`, of models by their names, and in how many columns they are shown.

    No paths are all of them of one model, and slerp of several.
    """
    paths = paths or (["slerp"] if len(models) > 1 else PATH_NAMES)
    clips = []
    for name, model in models.items():
        keyframes = choose_keyframes(model, options, 2, 2, "a path needs two ends")
        model = tuned_to_pictures(model, keyframes, options.tune)
        for path in paths:
            label = path if len(models) == 1 else name if len(paths) == 1 else f"{name}, {path}"
            clips.append(path_clip(label, path, model, keyframes))
    if len(models) > 1:
        return clips, len(paths) if len(paths) > 1 else 2
    return clips, 1 if len(paths) <= 2 else 2
