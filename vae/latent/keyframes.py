"""Keyframes: the latents that a path visits, from seeds, pictures or files of latents."""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from data.image_files.reader import read
from data.system.errors import UserError
from data.system.files import user_path
from data.transforms import to_tensor
from vae.generator import Generator, has_encoder, seeded_latents
from vae.latent.latent_file import read_latents


class Keyframe(NamedTuple):
    """A latent and, where it was one, the picture that it stands for.

    Attributes:
        z: (D,).
        picture: (C, H, W) in [-1, 1], or None.
    """

    z: Tensor
    picture: Tensor | None = None


def latents_of(keyframes: Iterable[Keyframe]) -> Tensor:
    """The latents (K, D) of keyframes."""
    return torch.stack([keyframe.z for keyframe in keyframes])


def parse_keyframe(vae: Generator, word: str, truncation: float = 1.0) -> Keyframe:
    """A keyframe: an integer is a seed, `walk.npz:3` the fourth latent of a file, anything else a picture to encode.

    Args:
        vae: whose latents they are.
        word: names the keyframe.
        truncation: what a seed's latent is multiplied by (Karras 2019, appendix B): towards the mean picture.

    Raises:
        UserError: the file is missing, broken or of another model.
    """
    if not word.strip():
        raise UserError("keyframes: one is empty; name a seed, a picture or walk.npz:3")
    if re.fullmatch(r"[+-]?\d{1,20}", word):
        return Keyframe(vae.zero_inactive(truncation * seeded_latents(int(word), 1, vae.latent_dim))[0])
    if match := re.fullmatch(r"(.+\.npz)(?::(-?\d{1,9}))?", word):
        return Keyframe(vae.zero_inactive(_read_latent(user_path(match[1]), int(match[2] or 0), vae.latent_dim)))
    if not has_encoder(vae):
        raise UserError(f"{word}: a generator without an encoder finds no picture's latent; name seeds")
    with warnings.catch_warnings(action="ignore"):  # of what is odd in a file that can be read
        pixels = torch.from_numpy(read(user_path(word), vae.image_size, vae.channels))
    picture = to_tensor(pixels[None])
    with torch.inference_mode():
        z = vae.encode(picture)[0]
    return Keyframe(z[0].clone(), picture[0])


def _read_latent(path: Path, index: int, latent_dim: int) -> Tensor:
    latents = read_latents(path)
    if latents.shape[1] != latent_dim:
        raise UserError(
            f"{path}: holds latents of {latents.shape[1]} numbers, not {latent_dim} as the model's; save its own"
        )
    if not -len(latents) <= index < len(latents):
        raise UserError(f"{path}:{index}: the file holds {len(latents)} latents; name one from 0 to {len(latents) - 1}")
    return torch.from_numpy(latents[index].copy())
