"""Stills: the strip of a path, a traverse of single latents, samples from the prior."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from data.system.errors import UserError
from vae.generator import prior_latents, seeded_latents, zero_inactive
from vae.inference import decode_batches
from vae.model.elbo import kl_divergence
from vae.model.vae import VAE
from vae.option_groups import Range
from vae.render import captions
from vae.render.animation import check_pixels
from vae.render.clips import choose_keyframes, path_clip
from vae.render.formats.frame import Frame, resize
from vae.render.formats.writers import write_still
from vae.render.frames import render_frames
from vae.render.options import (
    Grid,
    KeyframeOptions,
    OptionalPathName,
    PathsOptions,
    PictureOptions,
    Steps,
    Truncation,
    parse_grid,
)

_REACH = 3.0
_KL_SAMPLES = 256
_SAMPLES_GRID = Grid(8, 6)


@dataclass(frozen=True)
class StripOptions:
    """A still of a path.

    Args:
        steps: pictures, evenly spaced in t.
        path: through the keyframes; null is slerp.
    """

    steps: Steps = 8
    path: OptionalPathName = None


@dataclass(frozen=True)
class TraverseOptions:
    """A still of single latents.

    Args:
        steps: pictures in a row, from −3 to 3.
        rows: how many latents, those with the largest KL first.
    """

    steps: Steps = 9
    rows: Annotated[int, Range(1, 64)] = 8


@dataclass(frozen=True)
class SamplesOptions:
    """A still of the prior.

    Args:
        grid: columns and rows.
        seed: names the latents.
        truncation: what the latents are multiplied by: less than 1 is closer to the mean picture.
    """

    grid: Annotated[Grid, parse_grid] = _SAMPLES_GRID
    seed: int = 0
    truncation: Truncation = 1.0


def strip(
    vae: VAE, options: KeyframeOptions, paths: PathsOptions, still: StripOptions, picture: PictureOptions, out: Path
) -> str:
    """Writes a path's pictures side by side, a row for each of several paths; returns what was written, in words."""
    keyframes = choose_keyframes(vae, options, 2, 2, "a path needs two ends")
    t = torch.linspace(0, len(keyframes) - 1, still.steps, dtype=torch.float64)
    if paths.paths and still.path:
        raise UserError("--path: is for one path, --paths for several; give one of them")
    names = paths.paths or [still.path or "slerp"]
    check_pixels(still.steps * len(names), picture.side(vae.image_size))
    rows = []
    for name in names:
        frames = _sized_frames(vae, path_clip(name, name, vae, keyframes).trajectory.at(t), picture)
        prefix = f"{name} " if paths.paths else "t = "
        rows.append(_captioned(frames, [f"{prefix}{time:.2f}" for time in t.tolist()]))
    write_still(captions.in_column(rows), out)
    return f"{still.steps} pictures of {' '.join(names)}"


@torch.inference_mode()
def kl_per_latent(vae: VAE) -> Tensor:
    """The KL of each latent, (D,) nats: the mean over the posteriors of 256 samples from the prior, always the same."""
    z = zero_inactive(vae, seeded_latents(0, _KL_SAMPLES, vae.latent_dim))
    return torch.cat([kl_divergence(*vae.encode(x)) for x in decode_batches(vae, z)]).mean(0).cpu()


def traverse(vae: VAE, options: KeyframeOptions, still: TraverseOptions, picture: PictureOptions, out: Path) -> str:
    """Writes a row for each of the latents with the largest KL: it goes from −3 to 3, the others are the keyframe's."""
    (keyframe, *more) = choose_keyframes(vae, options, 1, 1, "a traverse is around one")
    if more:
        raise UserError(f"{1 + len(more)} keyframes: a traverse is around one; name one")
    check_pixels(still.steps * min(still.rows, vae.latent_dim), picture.side(vae.image_size))
    kl = kl_per_latent(vae)
    active = int(zero_inactive(vae, torch.ones_like(kl)).count_nonzero())
    chosen = kl.argsort(descending=True)[: min(still.rows, active)].tolist()
    values = torch.linspace(-_REACH, _REACH, still.steps)
    rows = []
    for latent in chosen:
        z = keyframe.z.repeat(still.steps, 1)
        z[:, latent] = values
        rows.append(_captioned(_sized_frames(vae, z, picture), [f"z{latent} = {v:+.1f}" for v in values.tolist()]))
    write_still(captions.in_column(rows), out)
    nats = ", ".join(f"z{latent} {kl[latent]:.1f}" for latent in chosen)
    return f"{len(chosen)} latents (nats: {nats})"


def samples(vae: VAE, still: SamplesOptions, picture: PictureOptions, out: Path) -> str:
    """Writes a grid of pictures drawn from the prior."""
    count = still.grid.columns * still.grid.rows
    check_pixels(count, picture.side(vae.image_size))
    z = prior_latents(vae, still.seed, count, still.truncation)
    write_still(captions.in_grid(list(_sized_frames(vae, z, picture)), still.grid.columns), out)
    return f"{count} pictures"


def _sized_frames(vae: VAE, z: Tensor, picture: PictureOptions) -> Iterator[Frame]:
    frames = render_frames(vae, z, picture.dtype)
    return (resize(frame, picture.side(vae.image_size), picture.resample) for frame in frames)


def _captioned(frames: Iterator[Frame], texts: Sequence[str]) -> Frame:
    """Frames in a row, each with a text below it."""
    return captions.in_row([captions.caption(*pair) for pair in zip(frames, texts, strict=True)])
