"""The command `traverse`: pictures along some directions of latent space, a row for each."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.spelling import counted
from vae.generator import seeded_latents, zero_inactive
from vae.inference import BATCH, decode_batches
from vae.latent.directions import jacobian_directions
from vae.latent.keyframes import Keyframe
from vae.model.elbo import kl_divergence
from vae.model.vae import VAE
from vae.option_groups import Range
from vae.render.clips import choose_keyframes
from vae.render.formats import captions
from vae.render.frames import check_memory, keyframe_detail, render_frames
from vae.render.options import KeyframeOptions, ModelOptions, PictureOptions, RenderRequest
from vae.render.stills.sheet import finish_sheet, sheet_row, start_sheet
from vae.tuning.keyframe_tuning import tuned_to_pictures

_REACH = 3.0
_KL_SAMPLES = 256
_LEVELS = 127.5  # of 256 in one unit of a picture in [-1, 1]


@dataclass(frozen=True)
class TraverseOptions:
    """A still of some directions of latent space.

    Args:
        steps: pictures in a row, from −3 to 3.
        rows: how many directions.
        directions: `latents` are those with the largest KL first, each set to −3 to 3; `jacobian` are those along which
            the keyframe's picture changes most, s steps of length 1 away from it; below each is how much a pixel value
            changes for a step, at the keyframe: the root of the mean square.
    """

    steps: Annotated[int, Range(2, 64)] = 9
    rows: Annotated[int, Range(1, 64)] = 8
    directions: Literal["latents", "jacobian"] = "latents"


@torch.inference_mode()
def kl_per_latent(vae: VAE) -> Tensor:
    """The KL of each latent, (D,) nats: the mean over the posteriors of 256 samples from the prior, always the same."""
    z = vae.random_latents(seeded_latents(0, _KL_SAMPLES, vae.latent_dim).to(vae.device))
    return torch.cat([kl_divergence(*vae.encode(x)) for x in decode_batches(vae, z)]).mean(0).cpu()


def traverse(
    request: RenderRequest,
    model: ModelOptions,
    keyframes: KeyframeOptions,
    still: TraverseOptions,
    picture: PictureOptions,
) -> Path:
    """A row for each of the latents with the largest KL, or of the directions along which the picture changes most."""
    vae, out = start_sheet(request, model, picture)
    (keyframe,) = choose_keyframes(vae, keyframes, 1, 1, "a traverse is around one", most=1)
    count = min(still.rows, int(zero_inactive(vae, torch.ones(vae.latent_dim)).count_nonzero()))
    check_memory(picture.tiles(still.steps, count), picture.side(vae.image_size))
    along = _along_latents if still.directions == "latents" else _along_jacobian
    values, rows = torch.linspace(-_REACH, _REACH, still.steps), []
    lines, described = along(vae, keyframe.z, values, count)
    if count < still.rows:
        described += "; the others do nothing"
    ends = [Keyframe(z) for line in lines for z in (line.z[0], line.z[-1])]
    fixed = [keyframe, *ends]  # a copy that was fitted to the keyframe alone would hardly change as far as the ends
    drawn = tuned_to_pictures(vae, fixed, keyframes.tune, keyframes.save_tuned)
    detail = keyframe_detail(drawn, fixed, picture)
    for line in lines:
        frames = map(picture.resized, render_frames(decode_batches(drawn, line.z, picture.dtype)))
        if detail:
            frames = map(detail.added, frames, detail.weights(line.z))
        row = sheet_row(frames, [f"{line.name} = {value:+.3g}" for value in values.tolist()])
        rows.append(captions.caption(row, line.below) if line.below else row)
    return finish_sheet(rows, picture, out, described)


class _Line(NamedTuple):
    """The latents (steps, D) of a row, the name of what changes along it, and a text below it."""

    z: Tensor
    name: str
    below: str = ""


def _along_latents(vae: VAE, z: Tensor, values: Tensor, count: int) -> tuple[list[_Line], str]:
    kl = kl_per_latent(vae)
    lines, chosen = [], kl.argsort(descending=True)[:count].tolist()
    for latent in chosen:
        moved = z.repeat(len(values), 1)
        moved[:, latent] = values
        lines.append(_Line(moved, f"z{latent}"))
    nats = ", ".join(f"z{latent} {kl[latent]:.1f}" for latent in chosen)
    return lines, f"{counted(count, 'latent')} (nats: {nats})"


def _along_jacobian(vae: VAE, z: Tensor, values: Tensor, count: int) -> tuple[list[_Line], str]:
    def bar(batches: Iterable[Tensor]) -> Iterable[Tensor]:
        return tqdm(batches, "Differentiating", -(-2 * len(z) // BATCH), leave=False, delay=1)

    singular, directions = jacobian_directions(vae, z, bar)
    levels = (_LEVELS * singular / (vae.channels * vae.image_size**2) ** 0.5).tolist()
    lines = [
        _Line(z + values[:, None] * direction, "s", f"direction {n}: a step of 1 is {levels[n - 1]:.1f} of 256 levels")
        for n, direction in enumerate(directions[:count], 1)
    ]
    return lines, f"{counted(count, 'direction')} (levels: {', '.join(f'{level:.1f}' for level in levels[:count])})"
