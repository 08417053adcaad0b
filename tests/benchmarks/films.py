"""Films that GIFs are made of in the benchmarks."""

from pathlib import Path

import numpy as np
import torch

from data.synthetic.patterns import patterns
from vae.checkpoint import load_vae
from vae.generator import seeded_latents
from vae.inference import decode_batches
from vae.latent.paths import slerp
from vae.render.formats.frame import resize
from vae.render.frames import render_frames

COUNT = 60
CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "patterns.ckpt"


def model_film():
    """A walk of the shipped model."""
    vae = load_vae(CHECKPOINT)
    t = torch.linspace(0, 3, COUNT, dtype=torch.float64)
    return list(render_frames(decode_batches(vae, slerp(seeded_latents(3, 4, vae.latent_dim), t))))


def pattern_film():
    """A pattern that slides by."""
    still = patterns(5, torch.arange(1), 64)[0].numpy()
    return [np.roll(still, index, 1) for index in range(COUNT)]


def gradient_film():
    """Smooth colours, of which no two pixels have the same."""
    y, x = np.mgrid[:64, :64] / 64
    phases = 2 * np.pi * np.arange(COUNT) / COUNT
    colours = [np.stack([np.sin(2 * x + p), np.cos(3 * y + p), np.sin(x + y - p)], -1) for p in phases]
    return [(127.5 + 120 * colour).astype(np.uint8) for colour in colours]


FILMS = {"model": model_film, "pattern": pattern_film, "gradient": gradient_film}


def film(name, side):
    return [resize(frame, side, "lanczos") for frame in FILMS[name]()]
