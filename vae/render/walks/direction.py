"""The command `direction`: keyframes that move along the difference between the pictures of two folders.

A copy of the decoder is fitted to keyframes that are pictures and to what the model draws at the two ends: fitted to
the pictures alone, it draws them nearly unchanged as far as the ends, see `vae.model.tuned_decoder`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import realpath
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from tqdm import tqdm

from data.fit import Fit
from data.image_files.picture_set import PictureSet, find_set
from data.system.errors import UserError, echo
from data.system.files import user_path
from data.transforms import to_tensor
from vae.generator import Generator
from vae.inference import BATCH, encode_means
from vae.latent.directions import difference, separation
from vae.latent.keyframes import Keyframe, latents_of
from vae.latent.trajectory import path_trajectory
from vae.model.vae import VAE
from vae.option_groups import Words
from vae.render.animation import check_animation, render_animation
from vae.render.clips import Clip, choose_keyframes
from vae.render.models import single_model
from vae.render.options import KeyframeOptions, ModelOptions, MotionOptions, PictureOptions, RenderRequest
from vae.render.pacing import check_stretches
from vae.tuning.keyframe_tuning import tuned_to_pictures

_LEAST, _MOST = 4, 1000  # pictures of a folder
_STRONGEST = 10.0
_COLUMNS = 4
_MEANS_SOMETHING = 0.7  # of held-out pictures on the right side; half of them are by chance


def _parse_folder(words: Sequence[str]) -> tuple[Path, ...]:
    if len(words) > 1:
        raise UserError(f"{' '.join(words)}: are {len(words)} folders; name one")
    return tuple(map(user_path, words))


def _parse_strength(words: Sequence[str]) -> tuple[float, float]:
    """The two ends of a walk; no words are −1 and 1."""
    try:
        start, end = map(float, words or ("-1", "1"))
    except ValueError:
        start = end = math.nan
    if not (abs(start) <= _STRONGEST and abs(end) <= _STRONGEST and start != end):
        raise UserError(
            f"strength {' '.join(words)}: must be two numbers that differ, from -{_STRONGEST:g} to {_STRONGEST:g}, "
            "-1 1 for example"
        )
    return start, end


@dataclass(frozen=True)
class DirectionOptions:
    """A direction of latent space, between the pictures of two folders."""

    from_: Annotated[tuple[Path, ...], Words("a folder of pictures, that the direction leads away from", _parse_folder)]
    to: Annotated[tuple[Path, ...], Words("a folder of others, that the direction leads to", _parse_folder)]
    strength: Annotated[
        tuple[float, float],
        Words(
            "where each keyframe's walk begins and ends, -1 1 if it is left out: 0 is the keyframe, 1 is as far "
            "from it as the folders are apart",
            _parse_strength,
        ),
    ]


def direction(
    request: RenderRequest,
    model: ModelOptions,
    keyframes: KeyframeOptions,
    options: DirectionOptions,
    picture: PictureOptions,
    motion: MotionOptions,
) -> Path:
    """An animation of keyframes in step, a tile each, that move along the direction from one folder to the other."""
    folders, (first, last) = _find(options), options.strength
    stops = (first, 0.0, last) if first * last < 0 else (first, last)
    check_stretches(motion, len(stops) - 1, closed=False)
    vae, out = single_model(request, model), request.default_out(picture.out, ".gif")
    check_animation(motion, out, [vae])
    chosen = choose_keyframes(vae, keyframes, 1, 1, "something moves")
    start, end = (_encoded(vae, folder, keyframes.fit) for folder in folders)
    held_out = separation(start, end)
    echo(f"direction: {held_out:.0%} of held-out pictures are on their folder's side, where chance is 50%")
    if held_out < max(_MEANS_SOMETHING, 0.5 + (len(start) + len(end)) ** -0.5):  # two standard deviations of chance
        echo("it means little to this model: take folders that differ in one thing, or more pictures in each")
    along = difference(start, end)
    visited = [tuple(Keyframe(one.z + s * along) if s else one for s in stops) for one in chosen]
    ends = [one for each in visited for s, one in zip(stops, each, strict=True) if s]
    drawn = tuned_to_pictures(vae, [*chosen, *ends], keyframes.tune, keyframes.save_tuned)
    clips = [_clip(drawn, each, bool(keyframes.tune.steps)) for each in visited]
    return render_animation(request, clips, min(len(clips), _COLUMNS), picture, motion, out, keyframes.fit)


def _clip(model: Generator, visited: tuple[Keyframe, ...], exact: bool) -> Clip:
    """The walk in a straight line; it shows the files of keyframes if the model was fitted to them."""
    trajectory = path_trajectory("linear", model, latents_of(visited), False)
    return Clip("direction", model, trajectory, visited if exact else tuple(one._replace(file=None) for one in visited))


def _find(options: DirectionOptions) -> list[PictureSet]:
    """The pictures of the two folders. Raises `UserError` if they are too few, or the same."""
    found = []
    for option, folders in (("--from", options.from_), ("--to", options.to)):
        if not folders:
            raise UserError(f"{option}: is missing; name a folder of {_LEAST} pictures or more")
        (folder,) = folders
        found.append(find_set(option, folder, _LEAST, _MOST))
    start, end = found
    if shared := len(set(map(realpath, start.files)) & set(map(realpath, end.files))):
        raise UserError(f"{end.name}: shares {shared} pictures with --from; name another folder")
    return found


def _encoded(vae: VAE, pictures: PictureSet, fit: Fit) -> Tensor:
    """The codes (N, D) of those pictures that can be read, on the CPU."""
    _, pixels = pictures.read(vae.image_size, vae.channels, fit)
    batches = tqdm(torch.split(torch.from_numpy(pixels), BATCH), "Encoding", leave=False, delay=1)
    return torch.cat([encode_means(vae, to_tensor(some)).cpu() for some in batches])
