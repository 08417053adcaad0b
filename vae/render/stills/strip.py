"""The commands `strip`, a path as a row of pictures, and `samples`, pictures drawn from the prior."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from data.system.errors import UserError
from data.system.spelling import counted
from vae.generator import prior_latents
from vae.inference import decode_batches
from vae.option_groups import Range
from vae.render.clips import BetweenOptions, choose_keyframes, clips_along
from vae.render.formats import captions
from vae.render.frames import Film, check_memory, render_frames
from vae.render.options import (
    Classes,
    KeyframeOptions,
    ModelOptions,
    PathsOptions,
    PictureOptions,
    RenderRequest,
    Truncation,
    parse_grid,
)
from vae.render.pacing import paced_by_change
from vae.render.stills.sheet import finish_sheet, sheet_row, start_sheet


@dataclass(frozen=True)
class StripOptions:
    """A still of a path.

    Args:
        steps: pictures, evenly spaced in t; between pictures of yours by visible change.
    """

    steps: Annotated[int, Range(2, 64)] = 8


@dataclass(frozen=True)
class SamplesOptions:
    """A still of the prior.

    Args:
        grid: columns and rows; null is 8x6, or 8 columns and a row for each of several classes.
        seed: names the latents.
        truncation: what the latents are multiplied by: less than 1 is closer to the mean picture.
    """

    grid: Annotated[tuple[int, int] | None, parse_grid] = None
    seed: int = 0
    truncation: Truncation = 1.0
    class_: Classes = ()


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
    vae, out = start_sheet(request, model, picture)
    chosen = choose_keyframes(vae, keyframes, 2, 2, "a path needs two ends")
    t = torch.linspace(0, len(chosen) - 1, still.steps, dtype=torch.float64)
    names, rows = paths.paths or ["slerp"], []
    check_memory(picture.tiles(still.steps, len(names)), picture.side(vae.image_size))
    for clip in clips_along({name: name for name in names}, vae, chosen, keyframes, between):
        prefix = f"{clip.label} " if paths.paths else "t = "
        when = paced_by_change(clip, t) if clip.metamorphosis else t  # pictures change most of all half-way
        rows.append(sheet_row(Film(clip, when, picture).all(), [f"{prefix}{time:.2f}" for time in when.tolist()]))
    each = f"{counted(still.steps, 'picture')}{' each' if len(names) > 1 else ''}"
    return finish_sheet(rows, picture, out, f"{each} of {', '.join(names)}")


def samples(request: RenderRequest, model: ModelOptions, still: SamplesOptions, picture: PictureOptions) -> Path:
    """Pictures drawn from the prior."""
    vae, out = start_sheet(request, model, picture)
    several = len(still.class_) if len(still.class_) > 1 else 0
    columns, rows = still.grid or (8, several or 6)
    if several and rows != several:
        raise UserError(
            f"--grid {columns}x{rows}: each of {several} classes is a row; write --grid {columns}x{several}"
        )
    check_memory(picture.tiles(columns, rows), picture.side(vae.image_size))
    count = columns if several else columns * rows
    parts = [prior_latents(vae, still.seed, count, still.truncation, name) for name in still.class_ or [None]]
    z = torch.cat(parts)
    frames = [picture.resized(frame) for frame in render_frames(decode_batches(vae, z, picture.dtype))]
    return finish_sheet([captions.in_grid(frames, columns)], picture, out, counted(len(frames), "picture"))
