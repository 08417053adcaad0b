"""Keyframes: the latents that a path visits, from seeds, pictures or files of latents."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from data.fit import Fit
from data.image_files.reader import read_picture
from data.system.errors import UserError, shell_quoted
from data.system.files import user_path
from data.system.program import program_command
from data.transforms import to_tensor
from vae.generator import Generator, has_encoder, prior_latents, zero_inactive
from vae.inference import encode_means
from vae.latent.latent_file import read_latents


class Keyframe(NamedTuple):
    """A latent (D,) and, where it was encoded, the picture (C, H, W) in [-1, 1] that it stands for; on the CPU.

    The file holds that picture, of any size and shape; `fit` makes it square.
    """

    z: Tensor
    picture: Tensor | None = None
    file: Path | None = None
    fit: Fit = "crop"


def latents_of(keyframes: Iterable[Keyframe]) -> Tensor:
    """The latents (K, D) of keyframes."""
    return torch.stack([keyframe.z for keyframe in keyframes])


def random_keyframes(
    model: Generator, seed: int, count: int, truncation: float = 1.0, classes: Sequence[str] = (), tile: int = 0
) -> list[Keyframe]:
    """Keyframes that a seed draws: `count` of any class or of one, or else one of each class, all of the same noise.

    Each tile has others. Raises `UserError` if the model has no such class.
    """
    if len(classes) > 1:
        z = [prior_latents(model, seed, tile + 1, truncation, name)[-1] for name in classes]
    else:
        z = list(prior_latents(model, seed, (tile + 1) * count, truncation, *classes)[-count:])
    return [Keyframe(one) for one in z]


def parse_keyframe(model: Generator, word: str, truncation: float = 1.0, fit: Fit = "crop") -> Keyframe:
    """The keyframe that a word names: the first of `KEYFRAME_KINDS` whose pattern matches.

    A seed's latent is multiplied by the truncation (Karras 2019, appendix B): towards the mean picture. The fit makes
    a picture square, see `data.fit.to_square`.

    Raises:
        UserError: the file is missing, broken or of another model.
    """
    for read, match in _readers(word):
        return read(model, match, truncation, fit)
    raise UserError(f"keyframes: one is empty; {', '.join(kind.meaning for kind in KEYFRAME_KINDS)}")


def _from_seed(model: Generator, match: re.Match[str], truncation: float, fit: Fit) -> Keyframe:
    return Keyframe(prior_latents(model, int(match[0]), 1, truncation)[0])


def _from_latent_file(model: Generator, match: re.Match[str], truncation: float, fit: Fit) -> Keyframe:
    path, index = user_path(match[1]), int(match[2] or 0)
    latents = read_latents(path)
    if latents.shape[1] != model.latent_dim:
        raise UserError(
            f"{path}: holds latents of {latents.shape[1]} numbers, not {model.latent_dim} as the model's; save its own"
        )
    if not -len(latents) <= index < len(latents):
        raise UserError(f"{path}:{index}: the file holds {len(latents)} latents; name one from 0 to {len(latents) - 1}")
    return Keyframe(zero_inactive(model, torch.from_numpy(latents[index].copy())))


def _from_picture(model: Generator, match: re.Match[str], truncation: float, fit: Fit) -> Keyframe:
    if not has_encoder(model):
        raise UserError(f"{match[0]}: a generator without an encoder finds no picture's latent; name seeds")
    file = user_path(match[0])
    if file.is_dir():
        tour = f"{program_command('render')} tour --pictures {shell_quoted(Path(match[0]))}"
        raise UserError(f"{match[0]}: a folder is no keyframe; name pictures in it, or see all of them with {tour}")
    picture = to_tensor(torch.from_numpy(read_picture(file, model.image_size, model.channels, fit=fit))[None])
    return Keyframe(encode_means(model, picture)[0].cpu().clone(), picture[0], file, fit)


def names_picture(word: str) -> bool:
    """True if the word that names a keyframe names a picture."""
    return any(read is _from_picture for read, _ in _readers(word))


def names_latents(word: str) -> bool:
    """True if the word that names a keyframe names a saved latent."""
    return any(read is _from_latent_file for read, _ in _readers(word))


def _readers(word: str) -> list[tuple[Callable[..., Keyframe], re.Match[str]]]:
    """What reads the word and what it matched, of the first kind whose pattern matches; empty if there is none."""
    found = ((kind.read, re.fullmatch(kind.pattern, word, re.DOTALL)) for kind in KEYFRAME_KINDS)
    return [(read, match) for read, match in found if match][:1]


class KeyframeKind(NamedTuple):
    """One way to name a keyframe."""

    pattern: str  # that the whole word matches
    meaning: str  # for the help
    read: Callable[[Generator, re.Match[str], float, Fit], Keyframe]  # model, match, truncation, fit → the keyframe


KEYFRAME_KINDS = (
    KeyframeKind(r"[+-]?\d{1,20}", "integers are seeds", _from_seed),
    KeyframeKind(r"(.+\.npz)(?::(-?\d{1,9}))?", "walk.npz:3 is a latent that was saved", _from_latent_file),
    KeyframeKind(r".*\S.*", "anything else a picture", _from_picture),
)
