"""One HTML page to morph by hand: squares between four keyframes each, decoded in advance."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import imageio.v3 as iio
import torch
from torch import Tensor
from tqdm import tqdm

from data.fit import Fit
from data.system.errors import UserError, echo, escape_unprintable
from data.system.files import check_writable, save_bytes
from data.system.spelling import counted
from vae.generator import Generator
from vae.inference import BATCH, decode_batches
from vae.latent.keyframes import Keyframe, latents_of, parse_keyframe, random_keyframes
from vae.latent.paths import slerp
from vae.morphing.barycentric import barycentric, flows_among
from vae.option_groups import Range
from vae.render.clips import BetweenOptions, any_pictures, shown_pictures
from vae.render.formats import captions
from vae.render.formats.frame import Frame
from vae.render.frames import render_frames
from vae.render.models import single_model
from vae.render.options import Classes, Keyframes, ModelOptions, RenderRequest, Truncation, Tuning, file_like
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
        fit: how pictures that are not square become so: `crop` keeps their centre, `pad` all of them on a ground of the
            median colour of their border, `stretch` all of them, out of proportion.
        out: the page; null is renders/explore.html.
    """

    sets: Annotated[int, Range(1, 16)] = 4
    seed: int = 0
    truncation: Truncation = 1.0
    tune: Tuning = DEFAULT_BUDGET
    fit: Fit = "crop"
    out: Annotated[Path | None, file_like("explore.html")] = None
    keyframes: Keyframes = ()
    class_: Classes = ()


def explore(request: RenderRequest, model: ModelOptions, between: BetweenOptions, options: ExploreOptions) -> Path:
    """Writes a page to morph by hand between keyframes; those that the options list are the first square's corners."""
    vae, out = single_model(request, model), request.default_out(options.out, ".html")
    check_writable(out)
    first = _named_corners(vae, options)
    squares = [decode_batches(vae, square_latents(four)) for four in _random_corners(vae, options)]
    if first:
        squares[0] = _between(tuned_to_pictures(vae, first, options.tune), first, options, between)
    with tqdm(squares, escape_unprintable(str(out)), leave=False, unit=" sets", delay=1) as bar:
        html = html_page([list(render_frames(square)) for square in bar])
    save_bytes(html, out)
    sets = f"{options.sets} sets of {CELLS}×{CELLS} pictures"
    echo(f"{out}: {sets}, {len(html) / 1e6:.1f} MB; open it in a browser")
    return out


def _named_corners(model: Generator, options: ExploreOptions) -> list[Keyframe]:
    """The first square's corners that the options list, or none."""
    words = options.keyframes
    if len(words) not in (0, 4):
        raise UserError(f"{counted(len(words), 'keyframe')}: a morph pad has four corners; name four")
    return [parse_keyframe(model, word, options.truncation, options.fit) for word in words]


def _random_corners(model: Generator, options: ExploreOptions) -> list[Tensor]:
    """The latents (4, D) of each square's corners."""
    classes = options.class_
    if len(classes) not in (0, 1, 4):
        raise UserError(f"--class: {len(classes)} classes for a morph pad's four corners; name one for all, or four")
    squares = (random_keyframes(model, options.seed, 4, options.truncation, classes, n) for n in range(options.sets))
    return [latents_of(corners) for corners in squares]


def _between(
    model: Generator, corners: Sequence[Keyframe], options: ExploreOptions, between: BetweenOptions
) -> Iterator[Tensor]:
    """The pictures of a square, in batches (N, C, H, H): what a model draws, or of the pictures in its corners."""
    x = decode_batches(model, square_latents(latents_of(corners)))
    if not options.tune.steps or between.between == "model" or not any_pictures(corners):
        return x
    pictures = shown_pictures(model, corners)
    flows = flows_among(pictures, lambda pairs: tqdm(pairs, "Aligning", leave=False, delay=1))
    weights = torch.split(square_weights(), BATCH)
    return (barycentric(pictures, flows, w, seen.cpu()) for w, seen in zip(weights, x, strict=True))


def square_weights() -> Tensor:
    """What each corner counts in each cell of a square, row by row: (17², 4)."""
    u = torch.linspace(0, 1, CELLS)
    sides = torch.stack([1 - u, u], 1)
    return torch.einsum("va,ub->vuab", sides, sides).reshape(-1, 4)


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
