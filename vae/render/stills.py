"""Stills: the strip of a path, a traverse of single latents, samples from the prior."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from data.system.errors import UserError, echo
from vae.generator import prior_latents, seeded_latents, zero_inactive
from vae.inference import decode_batches
from vae.model.elbo import kl_divergence
from vae.model.vae import VAE
from vae.option_groups import Range
from vae.render.clips import BetweenOptions, choose_keyframes, clips_along
from vae.render.formats import captions
from vae.render.formats.frame import Frame
from vae.render.formats.writers import check_still, write_still
from vae.render.frames import Film, check_memory, keyframe_detail, render_frames
from vae.render.models import single_model
from vae.render.options import (
    KeyframeOptions,
    ModelOptions,
    PathsOptions,
    PictureOptions,
    RenderRequest,
    Truncation,
    parse_grid,
)
from vae.tuning.keyframe_tuning import tuned_to_pictures

_REACH = 3.0
_KL_SAMPLES = 256
_Steps = Annotated[int, Range(2, 64)]


@dataclass(frozen=True)
class StripOptions:
    """A still of a path.

    Args:
        steps: pictures, evenly spaced in t.
    """

    steps: _Steps = 8


@dataclass(frozen=True)
class TraverseOptions:
    """A still of single latents.

    Args:
        steps: pictures in a row, from −3 to 3.
        rows: how many latents, those with the largest KL first.
    """

    steps: _Steps = 9
    rows: Annotated[int, Range(1, 64)] = 8


@dataclass(frozen=True)
class SamplesOptions:
    """A still of the prior.

    Args:
        grid: columns and rows; null is 8x6.
        seed: names the latents.
        truncation: what the latents are multiplied by: less than 1 is closer to the mean picture.
    """

    grid: Annotated[tuple[int, int] | None, parse_grid] = None
    seed: int = 0
    truncation: Truncation = 1.0


def strip(
    request: RenderRequest,
    model: ModelOptions,
    keyframes: KeyframeOptions,
    between: BetweenOptions,
    paths: PathsOptions,
    still: StripOptions,
    picture: PictureOptions,
) -> Path:
    """A path's pictures side by side, a row for each of several paths."""
    vae, out = _start(request, model, picture)
    chosen = choose_keyframes(vae, keyframes, 2, 2, "a path needs two ends")
    t = torch.linspace(0, len(chosen) - 1, still.steps, dtype=torch.float64)
    names, rows = paths.paths or ["slerp"], []
    check_memory(len(names) * still.steps, picture.side(vae.image_size))
    for clip in clips_along({name: name for name in names}, vae, chosen, keyframes, between):
        prefix = f"{clip.label} " if paths.paths else "t = "
        rows.append(_row(Film(clip, t, picture).all(), [f"{prefix}{time:.2f}" for time in t.tolist()]))
    return _finish(rows, out, f"{still.steps} pictures of {' '.join(names)}")


@torch.inference_mode()
def kl_per_latent(vae: VAE) -> Tensor:
    """The KL of each latent, (D,) nats: the mean over the posteriors of 256 samples from the prior, always the same."""
    z = zero_inactive(vae, seeded_latents(0, _KL_SAMPLES, vae.latent_dim))
    return torch.cat([kl_divergence(*vae.encode(x)) for x in decode_batches(vae, z)]).mean(0).cpu()


def traverse(
    request: RenderRequest,
    model: ModelOptions,
    keyframes: KeyframeOptions,
    still: TraverseOptions,
    picture: PictureOptions,
) -> Path:
    """A row for each of the latents with the largest KL: it goes from −3 to 3, the others are the keyframe's."""
    vae, out = _start(request, model, picture)
    (keyframe, *more) = choose_keyframes(vae, keyframes, 1, 1, "a traverse is around one")
    if more:
        raise UserError(f"{1 + len(more)} keyframes: a traverse is around one; name one")
    kl = kl_per_latent(vae)
    active = int(zero_inactive(vae, torch.ones_like(kl)).count_nonzero())
    chosen = kl.argsort(descending=True)[: min(still.rows, active)].tolist()
    check_memory(len(chosen) * still.steps, picture.side(vae.image_size))
    drawn = tuned_to_pictures(vae, [keyframe], keyframes.tune, keyframes.save_tuned)
    detail = keyframe_detail(drawn, [keyframe], picture)
    values, rows = torch.linspace(-_REACH, _REACH, still.steps), []
    for latent in chosen:
        z = keyframe.z.repeat(still.steps, 1)
        z[:, latent] = values
        frames = map(picture.resized, render_frames(decode_batches(drawn, z, picture.dtype)))
        if detail:
            frames = map(detail.added, frames, detail.weights(z))
        rows.append(_row(frames, [f"z{latent} = {value:+.1f}" for value in values.tolist()]))
    nats = ", ".join(f"z{latent} {kl[latent]:.1f}" for latent in chosen)
    return _finish(rows, out, f"{len(chosen)} latents (nats: {nats})")


def samples(request: RenderRequest, model: ModelOptions, still: SamplesOptions, picture: PictureOptions) -> Path:
    """Pictures drawn from the prior."""
    vae, out = _start(request, model, picture)
    columns, rows = still.grid or (8, 6)
    check_memory(columns * rows, picture.side(vae.image_size))
    z = prior_latents(vae, still.seed, columns * rows, still.truncation)
    frames = [picture.resized(frame) for frame in render_frames(decode_batches(vae, z, picture.dtype))]
    return _finish([captions.in_grid(frames, columns)], out, f"{len(frames)} pictures")


def _start(request: RenderRequest, model: ModelOptions, picture: PictureOptions) -> tuple[VAE, Path]:
    """The model and the file, which can be written."""
    vae, out = single_model(request, model), request.default_out(picture.out, ".png")
    check_still(out)
    return vae, out


def _row(frames: Iterable[Frame], texts: Iterable[str]) -> Frame:
    """Pictures in a row, each with a text below it."""
    return captions.in_row([captions.caption(frame, text) for frame, text in zip(frames, texts, strict=True)])


def _finish(rows: Sequence[Frame], out: Path, described: str) -> Path:
    write_still(captions.in_column(list(rows)), out)
    echo(f"{out}: {described}")
    return out
