"""From Python one gets what the renderer writes."""

import io
import sys

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

import render
from data.system.errors import UserError
from vae.checkpoint import load_vae
from vae.generator import seeded_latents
from vae.render.models import SHIPPED
from vae.render.notebook import inline, morph

LINES = SHIPPED.with_name("lines.ckpt")


@pytest.mark.parametrize(("command", "path"), [("slerp", "slerp"), ("loop", "spline")])
def test_a_morph_has_the_renderers_frames(command, path, tmp_path):
    closed = command == "loop"
    words = ["--seed=3", "--count=4", "--frames=5", "--size=32", f"--checkpoint={LINES}", f"--out={tmp_path / 'all'}"]
    render.main([command, *words])
    rendered = [iio.imread(file) for file in sorted((tmp_path / "all").iterdir())]
    vae = load_vae(LINES)
    frames = list(morph(vae, vae.zero_inactive(seeded_latents(3, 4, vae.latent_dim)), path, frames=5, closed=closed))
    assert np.array_equal(frames, rendered)


def test_a_notebook_shows_a_gif_that_plays_at_its_rate():
    vae = load_vae(LINES)
    frames = list(morph(vae, torch.eye(2, 8), frames=6))
    shown = inline(iter(frames), fps=10)
    content, _ = shown._repr_mimebundle_()
    assert content.keys() == {"image/gif"}
    with Image.open(io.BytesIO(shown.data)) as film:
        assert film.n_frames == len(frames)
        assert film.info["duration"] == 100
        first = np.asarray(film.convert("RGB")).astype(int)
    assert abs(first - frames[0]).mean() < 2


def test_what_cannot_be_shown_is_refused_in_one_line(monkeypatch):
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UserError, match="fps 60"):
        inline([frame], fps=60)
    with pytest.raises(UserError, match="1 keyframe"):
        morph(load_vae(LINES), torch.zeros(1, 8))
    with pytest.raises(UserError, match=r"keyframes \(2, 5\): must be \(K, 8\)"):
        morph(load_vae(LINES), torch.zeros(2, 5))
    with pytest.raises(UserError, match="there are none"):
        inline(iter([]))
    with pytest.raises(UserError, match="zigzag"):
        morph(load_vae(LINES), torch.eye(2, 8), "zigzag")
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(UserError, match=r"IPython: is not installed; pip install -e '.\[notebook\]'"):
        inline([frame])
