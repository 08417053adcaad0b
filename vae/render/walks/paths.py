"""Clips along paths and around loops, one or several in step, and of several models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from data.system.errors import UserError
from vae.generator import Generator
from vae.latent.keyframes import latents_of
from vae.latent.paths import PATHS, QUARTERS, great_circle, noise_loop
from vae.latent.trajectory import PATH_NAMES, Trajectory
from vae.render.clips import BetweenOptions, Clip, choose_keyframes, clips_along
from vae.render.options import KeyframeOptions, MotionOptions, PathName, parse_grid
from vae.render.pacing import check_stretches
from vae.tuning.keyframe_tuning import tuned_to_pictures

MEANINGS = {  # of the commands that animate one path
    **{name: f"{(path.__doc__ or name).partition(':')[0]} through the keyframes." for name, path in PATHS.items()},
    "route": "A curve bent until it stays among pictures; searched for some seconds.",
    "loop": "A curve through all keyframes and back, without a seam and without a frame shown twice.",
}


@dataclass(frozen=True)
class GridOptions:
    """Many animations at once.

    Args:
        grid: columns and rows of animations in step, as 4x3: each goes through random keyframes of its own.
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


def path_clips(
    path: str,
    model: Generator,
    options: KeyframeOptions,
    between: BetweenOptions,
    grid: GridOptions,
    motion: MotionOptions,
) -> list[Clip]:
    """The clips of a command that is a path, one for each tile of the grid."""
    tiles = _tiles(options, grid)
    chosen = [choose_keyframes(model, options, 2, 2, "a path needs two ends", tile) for tile in tiles]
    check_stretches(motion, len(chosen[0]) - 1, closed=False)
    return [clip for each in chosen for clip in clips_along({path: path}, model, each, options, between)]


def loop_clips(
    model: Generator,
    options: KeyframeOptions,
    between: BetweenOptions,
    grid: GridOptions,
    loop: LoopOptions,
    motion: MotionOptions,
) -> list[Clip]:
    """The clips of the command `loop`, one for each tile of the grid."""
    if loop.style != "keyframes" and (loop.path != "spline" or motion.hold):
        raise UserError(f"--style {loop.style}: has a path of its own without keyframes; leave --path and --hold out")
    if loop.style == "noise" and options.save_tuned:
        raise UserError("--style noise: visits no pictures; leave --save-tuned out")
    if loop.style == "noise" and options.keyframes:
        raise UserError("--style noise: visits no keyframes; name a walk with --seed")
    tiles = _tiles(options, grid)
    return [_loop_clip(model, options, between, loop, motion, tile) for tile in tiles]


def _loop_clip(
    model: Generator,
    options: KeyframeOptions,
    between: BetweenOptions,
    loop: LoopOptions,
    motion: MotionOptions,
    tile: int,
) -> Clip:
    if loop.style == "circle":
        keyframes = choose_keyframes(model, options, 2, 2, "a great circle goes through two", tile)
        check_stretches(motion, QUARTERS, closed=True)
        z = latents_of(keyframes)
        circle = Trajectory(partial(great_circle, z), QUARTERS, True)
        mean = z.norm(dim=1).mean()
        on_circle = [keyframe._replace(z=keyframe.z * mean / keyframe.z.norm()) for keyframe in keyframes]
        return Clip("circle", tuned_to_pictures(model, on_circle, options.tune, options.save_tuned), circle)
    if loop.style == "noise":
        z = latents_of(choose_keyframes(model, options, 4, 4, "a random walk is made of 4, 6, 8 or more", tile))
        check_stretches(motion, len(z), closed=True)
        return Clip("noise", model, Trajectory(partial(noise_loop, z), len(z), True))
    keyframes = choose_keyframes(model, options, 4, 3, "a loop through fewer would go back the way it came", tile)
    check_stretches(motion, len(keyframes), closed=True)
    return clips_along({loop.path: loop.path}, model, keyframes, options, between, closed=True)[0]


def _tiles(options: KeyframeOptions, grid: GridOptions) -> range:
    if grid.grid and options.keyframes:
        raise UserError("--grid: each tile draws keyframes of its own; leave --keyframes out")
    columns, rows = grid.grid or (1, 1)
    return range(columns * rows)


def comparison_clips(
    models: Mapping[str, Generator],
    options: KeyframeOptions,
    between: BetweenOptions,
    paths: Sequence[str],
    motion: MotionOptions,
) -> tuple[list[Clip], int]:
    """The clips of the command `compare`, of models by their names, and in how many columns they are shown.

    No paths are all of them of one model, and slerp of several.
    """
    paths = paths or (["slerp"] if len(models) > 1 else PATH_NAMES)
    if options.save_tuned and len(models) > 1:
        raise UserError(f"--save-tuned: these are {len(models)} models; save the copy of one")
    clips: list[Clip] = []
    chosen = [choose_keyframes(model, options, 2, 2, "a path needs two ends") for model in models.values()]
    check_stretches(motion, len(chosen[0]) - 1, closed=False)
    for (name, model), keyframes in zip(models.items(), chosen, strict=True):
        labels = (path if len(models) == 1 else name if len(paths) == 1 else f"{name}, {path}" for path in paths)
        labelled = dict(zip(labels, paths, strict=True))
        clips += clips_along(labelled, model, keyframes, options, between)
    if len(models) > 1:
        return clips, len(paths) if len(paths) > 1 else 2
    return clips, 1 if len(paths) <= 2 else 2
