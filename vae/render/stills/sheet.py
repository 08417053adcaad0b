"""Sheets: rows of captioned pictures below each other, in one file."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from data.system.errors import echo
from vae.model.vae import VAE
from vae.render.formats import captions
from vae.render.formats.frame import Frame
from vae.render.formats.writers import check_still, write_still
from vae.render.models import single_model
from vae.render.options import ModelOptions, PictureOptions, RenderRequest


def start_sheet(request: RenderRequest, model: ModelOptions, picture: PictureOptions) -> tuple[VAE, Path]:
    """The model and the file, which can be written."""
    vae, out = single_model(request, model), request.default_out(picture.out, ".png")
    check_still(out)
    return vae, out


def sheet_row(frames: Iterable[Frame], texts: Iterable[str]) -> Frame:
    """Pictures in a row, each with a text below it."""
    return captions.in_row([captions.caption(frame, text) for frame, text in zip(frames, texts, strict=True)])


def finish_sheet(rows: Sequence[Frame], picture: PictureOptions, out: Path, described: str) -> Path:
    """Writes rows below each other into the file, says what they are, and returns it."""
    write_still(picture.bordered(captions.in_column(list(rows))), out)
    echo(f"{out}: {described}")
    return out
