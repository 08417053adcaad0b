"""Small pictures of keyframes, as the renderer will show them."""

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.fit import Fit
from data.image_files.reader import read_picture
from data.system.files import user_path
from vae.checkpoint import load_vae
from vae.latent.keyframes import names_picture, parse_keyframe
from vae.model.vae import VAE
from vae.render.clips import shown_pictures
from vae.render.formats.frame import Frame, resize
from vae.render.frames import render_frames
from vae.render.models import default_checkpoint

_SIDE = 192
_SEEDS = 1_000_000
ROLLED = 4


def roll_seeds() -> list[str]:
    """Random seeds, as many as a loop has by default, as words of a command line."""
    return [str(seed) for seed in random.sample(range(_SEEDS), ROLLED)]


def keyframe_pictures(words: Sequence[str], fit: Fit, checkpoint: Path | None) -> list[Frame]:
    """The pictures of keyframes, (192, 192, 3) uint8: files made square, and seeds as the model draws them.

    Raises:
        UserError: a file that is no picture.
    """
    seeds = [word for word in words if not names_picture(word)]
    drawn = iter(_drawn(seeds, checkpoint or default_checkpoint(words)) if seeds else ())
    return [read_picture(user_path(word), _SIDE, 3, fit=fit) if names_picture(word) else next(drawn) for word in words]


def _drawn(seeds: Sequence[str], checkpoint: Path) -> list[Frame]:
    model = _model(checkpoint, checkpoint.stat().st_mtime_ns)
    x = shown_pictures(model, [parse_keyframe(model, seed) for seed in seeds])
    return [resize(np.ascontiguousarray(frame), _SIDE, "lanczos") for frame in render_frames([x])]


@lru_cache(1)
def _model(checkpoint: Path, changed: int) -> VAE:
    return load_vae(checkpoint)
