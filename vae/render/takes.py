"""What is shown: walks of models, as the options of a command ask for them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError
from data.system.spelling import suggest
from vae.generator import Generator, seeded_latents
from vae.latent.keyframes import Keyframe, latents_of, parse_keyframe
from vae.latent.trajectory import (
    PATH_NAMES,
    Trajectory,
    check_path,
    circle_trajectory,
    noise_trajectory,
    trajectory_along,
)
from vae.metrics.smoothness import decode as decode_all
from vae.render.formats.frame import Frame, resize
from vae.render.frames import decode

SIZE = 256
_MOST_TILES = 64
_MOST_KEYFRAMES = 1000
_FARTHEST = 10
_MOST_PIXELS = 2**28  # of a frame or a still


class Clip(NamedTuple):
    """One walk of one model.

    Attributes:
        label: what it is called in a comparison.
        vae: draws it.
        walk: where it goes.
        keyframes: those that it visits, the first again at the end of a loop; () if it visits none.
    """

    label: str
    vae: Generator
    walk: Trajectory
    keyframes: Sequence[Keyframe] = ()

    @property
    def pictures(self) -> Tensor | None:
        """(S + 1, C, H, W), what its keyframes should look like; None if it visits none."""
        if not self.keyframes:
            return None
        drawn = decode_all(self.vae, latents_of(self.keyframes))
        pairs = zip(drawn, self.keyframes, strict=True)
        return torch.stack([own if keyframe.picture is None else keyframe.picture for own, keyframe in pairs])


def choose_keyframes(vae: Generator, options: Any, usual: int, least: int, why: str, tile: int = 0) -> list[Keyframe]:
    """The keyframes that the options list or draw.

    Args:
        vae: whose latents they are.
        options: of the command.
        usual: how many are drawn unless `--count` says.
        least: fewer are refused.
        why: tells the reason.
        tile: of a grid, each of which draws others.

    Raises:
        UserError: too few, or one that cannot be read.
    """
    for option in ("count", "seed"):
        if options.keyframes and options[option] is not None:
            raise UserError(f"--{option}: is for random keyframes; leave it out beside --keyframes")
    check_truncation(options.truncation)
    _check_separate(options.keyframes or ())
    count = len(options.keyframes or ()) or (usual if options.count is None else options.count)
    if count < least:
        raise UserError(f"{count} keyframes: give {least} or more with --count or --keyframes; {why}")
    if count > _MOST_KEYFRAMES:
        raise UserError(f"{count} keyframes: {_MOST_KEYFRAMES} are the most; give fewer")
    if options.keyframes:
        return [parse_keyframe(vae, word, options.truncation) for word in options.keyframes]
    return [Keyframe(z) for z in drawn(vae, options, (tile + 1) * count)[-count:]]


def shown(vae: Generator, z: Tensor, options: Any) -> Iterator[Frame]:
    """The frames of latents, at the size that the options ask for."""
    frames = decode(vae, z, getattr(torch, options.precision))
    return (resize(frame, side(vae, options), options.resample) for frame in frames)


def side(vae: Generator, options: Any) -> int:
    """The side in pixels that the options ask for."""
    return max(SIZE, vae.image_size) if options.size is None else int(options.size)


def check_screen(vae: Generator, options: Any, tiles: int) -> None:
    """Raises `UserError` if so many tiles of the size that the options ask for are too many pixels."""
    if (pixels := tiles * side(vae, options) ** 2) > _MOST_PIXELS:
        raise UserError(
            f"{tiles} tiles of this size are {pixels / 1e6:,.0f} megapixels; give a smaller --size or fewer"
        )


def drawn(vae: Generator, options: Any, count: int) -> Tensor:
    """The first latents (count, D) that the seed of a command gives, truncated.

    Raises:
        UserError: a seed or a truncation that is out of range.
    """
    check_truncation(options.truncation)
    return vae.zero_inactive(options.truncation * seeded_latents(options.seed or 0, count, vae.latent_dim))


def check_truncation(truncation: float) -> None:
    """Raises `UserError` unless it is in range."""
    if not 0 <= truncation <= _FARTHEST:
        raise UserError(f"truncation {truncation:g}: must be from 0 to {_FARTHEST}")


def parse_grid(words: str) -> tuple[int, int]:
    """Columns and rows.

    Raises:
        UserError: not a grid, or a very large one.

    >>> parse_grid("4x3")
    (4, 3)
    """
    match = re.fullmatch(r"(\d{1,4})[x×](\d{1,4})", words.strip().lower())
    columns, rows = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= columns * rows <= _MOST_TILES:
        raise UserError(f"grid {words!r}: not a grid; write columns and rows as 4x3, {_MOST_TILES} tiles at most")
    return columns, rows


def named_paths(paths: list[str]) -> list[str]:
    """The paths. Raises `UserError` unless each is known and named once."""
    _check_separate(paths)
    for path in paths:
        if paths.count(path) > 1:
            raise UserError(f"path {path}: is named twice; name it once")
        if path not in PATH_NAMES:
            raise UserError(f"path {path!r}: no such path; {suggest(path, PATH_NAMES)}")
    return paths


def _check_separate(words: Sequence[str]) -> None:
    for word in words:
        if "," in word and not Path(word).exists():
            raise UserError(f"{word}: no such thing; separate several by spaces")


def clip_along(label: str, path: str, vae: Generator, keyframes: list[Keyframe], closed: bool) -> Clip:
    """The walk along a path through keyframes."""
    z = latents_of(keyframes)
    walk = trajectory_along(path, vae, z, closed, lambda steps: tqdm(steps, "Searching a route", leave=False, delay=1))
    return Clip(label, vae, walk, [*keyframes, *keyframes[:closed]])


def _loop(vae: Generator, options: Any, tile: int) -> Clip:
    if options.style != "keyframes" and (options.path != "spline" or options.hold):
        raise UserError(f"--style {options.style}: goes its own way and rests nowhere; leave --path and --hold out")
    if options.style == "circle":
        keyframes = choose_keyframes(vae, options, 2, 2, "a great circle goes through two", tile)
        return Clip("circle", vae, circle_trajectory(latents_of(keyframes)))
    if options.style == "noise":
        if options.keyframes:
            raise UserError("--style noise: visits no keyframes; name a walk with --seed")
        keyframes = choose_keyframes(vae, options, 4, 4, "a random walk is made of 4, 6, 8 or more", tile)
        return Clip("noise", vae, noise_trajectory(latents_of(keyframes)))
    keyframes = choose_keyframes(vae, options, 4, 3, "a loop through fewer would go back the way it came", tile)
    return clip_along(options.path, options.path, vae, keyframes, True)


def clips(command: str, vaes: Mapping[str, Generator], options: Any) -> tuple[list[Clip], int]:
    """What a command shows, and in how many columns.

    Args:
        command: linear, slerp, spline, route, loop or compare.
        vaes: the models by their names; several for `compare` alone.
        options: of the command.
    """
    ends = "a path needs two ends"
    if command == "compare":
        paths = named_paths(options.paths or (["slerp"] if len(vaes) > 1 else list(PATH_NAMES)))
        found = []
        for path, vae in product(paths, vaes.values()):
            check_path(path, vae)
        for name, vae in vaes.items():
            keyframes = choose_keyframes(vae, options, 2, 2, ends)
            for path in paths:
                label = path if len(vaes) == 1 else name if len(paths) == 1 else f"{name}, {path}"
                found.append(clip_along(label, path, vae, keyframes, False))
        if len(vaes) > 1:
            return found, len(paths) if len(paths) > 1 else 2
        return found, 1 if len(paths) <= 2 else 2
    ((_, vae),) = vaes.items()
    columns, rows = (1, 1) if options.grid is None else parse_grid(options.grid)
    if columns * rows > 1 and options.keyframes:
        raise UserError("--grid: each tile draws keyframes of its own; leave --keyframes out")
    if command == "loop":
        return [_loop(vae, options, tile) for tile in range(columns * rows)], columns
    every = [choose_keyframes(vae, options, 2, 2, ends, tile) for tile in range(columns * rows)]
    return [clip_along(command, command, vae, keyframes, False) for keyframes in every], columns
