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
from vae.generator import seeded_latents
from vae.latent.keyframes import latents_of, parse_keyframe
from vae.latent.paths import slerp
from vae.model.vae import VAE
from vae.render import captions
from vae.render.formats.frame import Frame
from vae.render.frames import decode
from vae.render.takes import check_truncation

CELLS = 17  # in a row of a square; the page interpolates between the pictures of neighbouring cells
_MOST_SETS = 16
_MOST_BYTES = 5_000_000
_QUALITIES = (90, 80, 65, 50, 30)  # of WebP
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


def render_page(
    vae: VAE, out: Path, sets: int = 4, seed: int = 0, truncation: float = 1.0, keyframes: Sequence[str] = ()
) -> str:
    """Writes a page; returns a description of it.

    Args:
        vae: in eval mode.
        out: the page, an .html file.
        sets: the number of squares.
        seed: of the random keyframes, four for each square.
        truncation: factor of the latents of seeds, see `vae.latent.keyframes.parse_keyframe`.
        keyframes: none, or four that are the corners of the first square.

    Raises:
        UserError: a number out of range, a keyframe that cannot be read, or a place that cannot be written to.
    """
    if out.suffix != ".html":
        raise UserError(f"{out}: a page is kept in an .html file; name it like explore.html")
    check_writable(out)
    if not 1 <= sets <= _MOST_SETS:
        raise UserError(f"sets {sets}: must be from 1 to {_MOST_SETS}")
    if len(keyframes) not in (0, 4):
        raise UserError(f"{len(keyframes)} keyframes: a morph pad has four corners; name four")
    check_truncation(truncation)
    z = vae.zero_inactive(truncation * seeded_latents(seed, 4 * sets, vae.latent_dim))
    corners = list(torch.split(z, 4))
    if keyframes:
        corners[0] = latents_of(parse_keyframe(vae, word, truncation) for word in keyframes)
    progress = tqdm(corners, escape_unprintable(str(out)), leave=False, unit=" sets", delay=1)
    html = html_page([list(decode(vae, square_latents(each))) for each in progress])
    save_bytes(html, out)
    return f"{len(corners)} sets of {CELLS}×{CELLS} pictures, {len(html) / 1e6:.1f} MB; open it in a browser"


def _data_url(frame: Frame, quality: int) -> str:
    """A picture as a URL that contains it, in WebP."""
    content = iio.imwrite("<bytes>", frame, extension=".webp", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(content).decode()
