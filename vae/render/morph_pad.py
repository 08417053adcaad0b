"""One HTML page to morph by hand: squares between four keyframes each, decoded in advance."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import imageio.v3 as iio
import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError, echo, escape_unprintable
from data.system.files import check_writable, save_bytes
from vae.generator import Generator, prior_latents
from vae.inference import decode_batches
from vae.latent.keyframes import Keyframe, latents_of, parse_keyframe
from vae.latent.paths import slerp
from vae.option_groups import Range
from vae.render.formats import captions
from vae.render.formats.frame import Frame
from vae.render.frames import render_frames
from vae.render.models import single_model
from vae.render.options import Keyframes, ModelOptions, RenderRequest, Truncation, Tuning, file_like
from vae.tuning.keyframe_tuning import tuned_to_pictures
from vae.tuning.pivotal import DEFAULT_BUDGET

CELLS = 17  # in a row of a square; between them the page mixes neighbours
_MOST_BYTES = 5_000_000
_QUALITIES = (90, 80, 65, 50, 30)
_TEMPLATE = Path(__file__).with_name("explore.html")


@dataclass(frozen=True)
class ExploreOptions:
    """A page to morph by hand.

    Args:
        sets: squares to choose from, each with four keyframes in its corners.
        seed: names the random keyframes.
        truncation: what the latents of seeds are multiplied by: less than 1 is closer to the mean picture.
        tune: how long a copy of the decoder is fitted to the pictures among the keyframes: a number of steps, or what
            to reach, 35dB for example; 0 shows the model as it is.
        out: the page; null is renders/explore.html.
    """

    sets: Annotated[int, Range(1, 16)] = 4
    seed: int = 0
    truncation: Truncation = 1.0
    tune: Tuning = DEFAULT_BUDGET
    out: Annotated[Path | None, file_like("explore.html")] = None
    keyframes: Keyframes = ()


def explore(request: RenderRequest, model: ModelOptions, options: ExploreOptions) -> Path:
    """Writes a page to morph by hand between keyframes; those that the options list are the first square's corners."""
    vae, out = single_model(request, model), request.default_out(options.out, ".html")
    check_writable(out)
    first = _named_corners(vae, options)
    models = [tuned_to_pictures(vae, first, options.tune), *[vae] * (options.sets - 1)]
    corners = tqdm(_corners(vae, options, first), escape_unprintable(str(out)), leave=False, unit=" sets", delay=1)
    squares = zip(models, corners, strict=True)
    html = html_page([list(render_frames(decode_batches(model, square_latents(four)))) for model, four in squares])
    save_bytes(html, out)
    sets = f"{options.sets} sets of {CELLS}×{CELLS} pictures"
    echo(f"{out}: {sets}, {len(html) / 1e6:.1f} MB; open it in a browser")
    return out


def _named_corners(model: Generator, options: ExploreOptions) -> list[Keyframe]:
    """The first square's corners that the options list, or none."""
    words = options.keyframes
    if len(words) not in (0, 4):
        raise UserError(f"{len(words)} keyframes: a morph pad has four corners; name four")
    return [parse_keyframe(model, word, options.truncation) for word in words]


def _corners(model: Generator, options: ExploreOptions, first: Sequence[Keyframe]) -> list[Tensor]:
    """The latents (4, D) of each square's corners, the first square's as they are named."""
    corners = list(torch.split(prior_latents(model, options.seed, 4 * options.sets, options.truncation), 4))
    if first:
        corners[0] = latents_of(first)
    return corners


def square_latents(corners: Tensor) -> Tensor:
    """The latents (17², D), row by row, of a square with corners (4, D): a and b above, c and d below.

    z(u, v) = slerp(slerp(a, b; u), slerp(c, d; u); v), u and v in [0, 1].
    """
    u = torch.linspace(0, 1, CELLS, dtype=torch.float64)
    above, below = slerp(corners[:2], u), slerp(corners[2:], u)
    columns = [slerp(torch.stack(ends), u) for ends in zip(above, below, strict=True)]
    return torch.stack(columns, 1).flatten(0, 1)


def html_page(squares: Sequence[Sequence[Frame]]) -> bytes:
    """The page of squares, whose frames come row by row: HTML that loads no other file, of 5 MB if that is possible."""
    template = _TEMPLATE.read_text(encoding="utf-8")
    for quality in _QUALITIES:
        atlases = [_data_url(captions.in_grid(list(frames), CELLS), quality) for frames in squares]
        content = json.dumps({"sets": atlases, "cells": CELLS, "side": squares[0][0].shape[0]})
        html = template.replace("/*ATLAS*/", content).encode()
        if len(html) < _MOST_BYTES:
            break
    return html


def _data_url(frame: Frame, quality: int) -> str:
    """A picture as a URL that contains it, in WebP."""
    content = iio.imwrite("<bytes>", frame, extension=".webp", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(content).decode()
