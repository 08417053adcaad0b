"""Clips: trajectories of models through keyframes, as the options of a command ask for them."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError
from data.system.spelling import counted
from data.transforms import to_uint8
from vae.generator import Generator
from vae.inference import BATCH, decode_all, decode_batches
from vae.latent.keyframes import Keyframe, latents_of, parse_keyframe, random_keyframes
from vae.latent.trajectory import Trajectory, path_trajectory
from vae.morphing.metamorphosis import Metamorphosis, flows_between
from vae.render.options import KeyframeOptions
from vae.tuning.keyframe_tuning import tuned_to_pictures

Between = Literal["pictures", "model"]


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
    model: Generator,
    options: KeyframeOptions,
    default: int,
    least: int,
    reason: str,
    tile: int = 0,
    most: float = math.inf,
) -> list[Keyframe]:
    """The keyframes that the options list, or else draw: so many by default, and others for each tile of a grid.

    Raises:
        UserError: fewer than the least or more than the most, for that reason, or one that cannot be read.
    """
    words, classes = options.keyframes, options.class_
    for name, value in (("count", options.count), ("seed", options.seed), ("class", classes or None)):
        if words and value is not None:
            raise UserError(f"--{name}: is for random keyframes; leave it out beside --keyframes")
    several = len(classes) if len(classes) > 1 else 0
    if several and options.count not in (None, several):
        raise UserError(f"--count {options.count}: contradicts --class, which names {several} keyframes; leave it out")
    count = len(words) or several or options.count or default
    if not least <= count <= most:
        number = f"{least}" if least == most else f"{least} or more"
        given = "--class" if several else "--keyframes" if words else "--count or --keyframes"
        raise UserError(f"{counted(count, 'keyframe')}: give {number} with {given}; {reason}")
    if words:
        return [parse_keyframe(model, word, options.truncation, options.fit) for word in words]
    return random_keyframes(model, options.seed or 0, count, options.truncation, classes, tile)


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
