"""One HTML page to morph by hand: squares between four keyframes each, decoded in advance."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError, escape_unprintable
from data.system.files import check_writable, save_bytes
from vae.latent.paths import slerp
from vae.model.vae import VAE
from vae.render import captions
from vae.render.clips import choose_corners
from vae.render.formats.frame import Frame
from vae.render.frames import render_frames
from vae.render.options import ExploreOptions

CELLS = 17  # in a row of a square; between them the page mixes neighbours
_MOST_BYTES = 5_000_000
_QUALITIES = (90, 80, 65, 50, 30)
_TEMPLATE = Path(__file__).with_name("explore.html")


def square_latents(corners: Tensor, cells: int = CELLS) -> Tensor:
    """The latents of a square, z(u, v) = slerp(slerp(a, b; u), slerp(c, d; u); v), u and v in [0, 1].

    Args:
        corners: (4, D): a and b above, c and d below.
        cells: in a row.

    Returns:
        (cells², D), row by row.
    """
    u = torch.linspace(0, 1, cells, dtype=torch.float64)
    above, below = slerp(corners[:2], u), slerp(corners[2:], u)
    columns = [slerp(torch.stack(ends), u) for ends in zip(above, below, strict=True)]
    return torch.stack(columns, 1).flatten(0, 1)


def html_page(squares: Sequence[Sequence[Frame]], cells: int = CELLS) -> bytes:
    """The page: HTML that loads no other file.

    Args:
        squares: the frames of each square, row by row.
        cells: in a row.

    Raises:
        UserError: it would have more than 5 MB even at the lowest quality of the pictures.
    """
    template = _TEMPLATE.read_text(encoding="utf-8")
    for quality in _QUALITIES:
        atlases = [_data_url(captions.in_grid(list(frames), cells), quality) for frames in squares]
        content = json.dumps({"sets": atlases, "cells": cells, "side": squares[0][0].shape[0]})
        html = template.replace("/*ATLAS*/", content).encode()
        if len(html) < _MOST_BYTES:
            return html
    raise UserError(f"explore: {len(html) / 1e6:.1f} MB are too much for a page; give fewer --sets")


def render_page(vae: VAE, options: ExploreOptions, out: Path) -> str:
    """Writes the page of the `explore` command and returns a sentence on it."""
    if out.suffix != ".html":
        raise UserError(f"{out}: a page is kept in an .html file; name it like explore.html")
    check_writable(out)
    corners = choose_corners(vae, options)
    bar = tqdm(corners, escape_unprintable(str(out)), leave=False, unit=" sets", delay=1)
    html = html_page([list(render_frames(vae, square_latents(four))) for four in bar])
    save_bytes(html, out)
    return f"{len(corners)} sets of {CELLS}×{CELLS} pictures, {len(html) / 1e6:.1f} MB; open it in a browser"


def _data_url(frame: Frame, quality: int) -> str:
    """A picture as a URL that contains it, in WebP."""
    content = iio.imwrite("<bytes>", frame, extension=".webp", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(content).decode()
