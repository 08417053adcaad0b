"""Clips: trajectories of models through keyframes, as the options of a command ask for them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError
from data.transforms import to_uint8
from vae.generator import Generator, prior_latents
from vae.inference import BATCH, decode_all, decode_batches
from vae.latent.keyframes import Keyframe, latents_of, parse_keyframe
from vae.latent.paths import QUARTERS, great_circle, noise_loop
from vae.latent.timing import check_durations
from vae.latent.trajectory import PATH_NAMES, Trajectory, path_trajectory
from vae.morphing.metamorphosis import Metamorphosis, flows_between
from vae.render.options import KeyframeOptions, MotionOptions, PathName, parse_grid
from vae.tuning.keyframe_tuning import tuned_to_pictures

Between = Literal["pictures", "model"]


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
class BetweenOptions:
    """What is between keyframes that are pictures.

    Args:
        between: what frames between two keyframes are made of, where one is a picture that the model was fitted to:
            `pictures`: their own pixels, moved until outlines meet and dissolved where the model begins; `model`: what
            the decoder draws.
    """

    between: Between = "pictures"


@dataclass(frozen=True)
class Clip:
    """One trajectory of one model, and its name in a comparison.

    Attributes:
        keyframes: that it visits, the first again at the end of a loop.
        metamorphosis: of the keyframes' pictures at the model's size, if the frames between are made of them.
    """

    label: str
    model: Generator
    trajectory: Trajectory
    keyframes: tuple[Keyframe, ...] = ()
    metamorphosis: Metamorphosis | None = None

    def draw(
        self, t: Tensor, dtype: torch.dtype = torch.float32, shares: deque[Tensor] | None = None
    ) -> Iterator[Tensor]:
        """The pictures at times (T,) at the model's size, in batches (N, C, H, W).

        A queue of shares gets those of `Metamorphosis.drawn`, frame by frame.
        """
        batches = decode_batches(self.model, self.trajectory.at(t), dtype)
        for times, x in zip(torch.split(t, BATCH), batches, strict=True):
            if self.metamorphosis is None:
                yield x
            else:
                frames, found = self.metamorphosis.drawn(times, x.cpu())
                if shares is not None:
                    shares.extend(found)
                yield frames


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
        return [parse_keyframe(model, word, options.truncation, options.fit) for word in words]
    z = prior_latents(model, options.seed or 0, (tile + 1) * count, options.truncation)
    return [Keyframe(one) for one in z[-count:]]


def any_pictures(keyframes: Iterable[Keyframe]) -> bool:
    """True if one of the keyframes is a picture."""
    return any(keyframe.picture is not None for keyframe in keyframes)


def shown_pictures(model: Generator, keyframes: Sequence[Keyframe]) -> Tensor:
    """The pictures of keyframes, (K, C, H, H) in [-1, 1] on the CPU: those given, or what the model draws."""
    drawn = decode_all(model, latents_of(keyframes)).cpu()
    return torch.stack([x if one.picture is None else one.picture for one, x in zip(keyframes, drawn, strict=True)])


def clips_along(
    paths: Mapping[str, str],
    model: Generator,
    keyframes: Sequence[Keyframe],
    options: KeyframeOptions,
    between: BetweenOptions,
    closed: bool = False,
) -> list[Clip]:
    """The clips along paths, by their labels, through keyframes; the model is fitted to the pictures among them.

    Progress bars show what takes time.
    """

    def bar(text: str) -> Callable[[range], Iterable[int]]:
        return lambda steps: tqdm(steps, text, leave=False, delay=1)

    model = tuned_to_pictures(model, keyframes, options.tune, options.save_tuned)
    visited, metamorphosis = (*keyframes, *keyframes[:closed]), None
    if not options.tune.steps:
        visited = tuple(keyframe._replace(file=None) for keyframe in visited)  # the model is shown as it is
    elif between.between == "pictures" and any_pictures(keyframes):
        x = shown_pictures(model, visited)
        metamorphosis = Metamorphosis(to_uint8(x), flows_between(x, bar("Aligning")))
    clips, z = [], latents_of(keyframes)
    for label, path in paths.items():
        trajectory = path_trajectory(path, model, z, closed, bar("Searching a route"))
        clips.append(Clip(label, model, trajectory, visited, metamorphosis))
    return clips


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
    check_durations(motion.durations, len(chosen[0]) - 1)
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
    return [_loop_clip(model, options, between, loop, motion.durations, tile) for tile in tiles]


def _loop_clip(
    model: Generator,
    options: KeyframeOptions,
    between: BetweenOptions,
    loop: LoopOptions,
    durations: Sequence[float],
    tile: int,
) -> Clip:
    if loop.style == "circle":
        keyframes = choose_keyframes(model, options, 2, 2, "a great circle goes through two", tile)
        check_durations(durations, QUARTERS)
        z = latents_of(keyframes)
        circle = Trajectory(partial(great_circle, z), QUARTERS, True)
        mean = z.norm(dim=1).mean()
        on_circle = [keyframe._replace(z=keyframe.z * mean / keyframe.z.norm()) for keyframe in keyframes]
        return Clip("circle", tuned_to_pictures(model, on_circle, options.tune, options.save_tuned), circle)
    if loop.style == "noise":
        z = latents_of(choose_keyframes(model, options, 4, 4, "a random walk is made of 4, 6, 8 or more", tile))
        check_durations(durations, len(z))
        return Clip("noise", model, Trajectory(partial(noise_loop, z), len(z), True))
    keyframes = choose_keyframes(model, options, 4, 3, "a loop through fewer would go back the way it came", tile)
    check_durations(durations, len(keyframes))
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
    check_durations(motion.durations, len(chosen[0]) - 1)
    for (name, model), keyframes in zip(models.items(), chosen, strict=True):
        labels = (path if len(models) == 1 else name if len(paths) == 1 else f"{name}, {path}" for path in paths)
        labelled = dict(zip(labels, paths, strict=True))
        clips += clips_along(labelled, model, keyframes, options, between)
    if len(models) > 1:
        return clips, len(paths) if len(paths) > 1 else 2
    return clips, 1 if len(paths) <= 2 else 2
