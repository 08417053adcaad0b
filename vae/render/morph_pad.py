"""One page to morph by hand: squares spanned by four keyframes each, decoded beforehand."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError, printable
from data.system.files import check_writable, save
from vae.latent.paths import slerp
from vae.model.vae import VAE
from vae.render import captions
from vae.render.clips import choose_corners
from vae.render.formats.frame import Frame
from vae.render.frames import render_frames
from vae.render.options import ExploreOptions

CELLS = 17  # in a row of a square; between them the page mixes neighbours
_LARGEST = 5_000_000
_QUALITIES = (90, 80, 65, 50, 30)
_PAGE = Path(__file__).with_name("explore.html")


def square(corners: Tensor, cells: int = CELLS) -> Tensor:
    """The latents of a square: z(u, v) = slerp(slerp(a, b; u), slerp(c, d; u); v).

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


def page(sets: list[list[Frame]], cells: int = CELLS) -> bytes:
    """The page: HTML that needs nothing else.

    Args:
        sets: the frames of each square, row by row.
        cells: in a row.

    Raises:
        UserError: more than 5 MB, however the pictures are compressed.
    """
    template = _PAGE.read_text(encoding="utf-8")
    for quality in _QUALITIES:
        atlases = [_webp(captions.in_grid(frames, cells), quality) for frames in sets]
        content = json.dumps({"sets": atlases, "cells": cells, "side": sets[0][0].shape[0]})
        html = template.replace("/*ATLAS*/", content).encode()
        if len(html) < _LARGEST:
            return html
    raise UserError(f"explore: {len(html) / 1e6:.1f} MB are too much for a page; give fewer --sets")


def render_page(vae: VAE, options: ExploreOptions, out: Path) -> str:
    """The `explore` command: writes the page, tells of it."""
    if out.suffix != ".html":
        raise UserError(f"{out}: a page is kept in an .html file; name it like explore.html")
    check_writable(out)
    corners = choose_corners(vae, options)
    bar = tqdm(corners, printable(str(out)), leave=False, unit=" sets", delay=1)
    html = page([list(render_frames(vae, square(four))) for four in bar])
    save(html, out)
    return f"{len(corners)} sets of {CELLS}×{CELLS} pictures, {len(html) / 1e6:.1f} MB; open it in a browser"


def _webp(frame: Frame, quality: int) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(file, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
