"""Keyframes: the latents that a path visits, from seeds or from pictures."""

import re
from pathlib import Path

import torch
from torch import Tensor

from data.errors import UserError
from data.pixels import read, to_tensor
from vae.model import VAE


def seeded_keyframes(seed: int, count: int, latent_dim: int) -> Tensor:
    """The first `count` latents (count, D) that a seed draws from the prior; more of them do not change the first."""
    if abs(seed) >= 2**63:
        raise UserError(f"seed {seed}: must fit into 64 bits")
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randn(latent_dim, generator=generator) for _ in range(count)])


def named_keyframe(vae: VAE, word: str) -> Tensor:
    """A keyframe (1, D): an integer is a seed, anything else a picture to encode.

    Raises:
        UserError: the picture is missing or broken.
    """
    if re.fullmatch(r"[+-]?\d+", word):
        return vae.awake(seeded_keyframes(int(word), 1, vae.latent_dim))
    pixels = torch.from_numpy(read(Path(word).expanduser(), vae.image_size, vae.channels))
    with torch.inference_mode():
        return vae.encode(to_tensor(pixels[None]))[0]
