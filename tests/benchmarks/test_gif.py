"""GIFs against imageio's own writer."""

import io

import imageio
import numpy as np
import pytest
from PIL import Image

from benchmarks.films import FILMS, film
from vae.encoders import encode

pytestmark = pytest.mark.benchmark
FPS = 20


def imageios(frames):
    file = io.BytesIO()
    imageio.mimsave(file, frames, format="GIF", duration=1000 / FPS, loop=0)
    return file.getvalue()


def quality(frames, content):
    """PSNR in dB, and flicker: the mean absolute difference of the errors of neighbouring frames."""
    with Image.open(io.BytesIO(content)) as gif:
        errors = []
        for index, frame in enumerate(frames):
            gif.seek(index)
            errors.append(np.asarray(gif.convert("RGB")).astype(float) - frame)
    error = np.stack(errors)
    return 10 * np.log10(255**2 / max(float(np.square(error).mean()), 1e-9)), float(
        np.abs(np.diff(error, axis=0)).mean()
    )


@pytest.mark.parametrize(("side", "target"), [(64, 5), (256, 10)])
@pytest.mark.parametrize("name", FILMS)
def test_gifs_are_faster_nearer_and_smaller(name, side, target, report, in_turn):
    frames = film(name, side)
    ours, theirs = in_turn(lambda: encode(frames, ".gif", FPS), lambda: imageios(frames), repeats=3)
    mine, other = encode(frames, ".gif", FPS), imageios(frames)
    (psnr, flicker), (their_psnr, their_flicker) = quality(frames, mine), quality(frames, other)
    detail = f"PSNR {psnr:.1f} / {their_psnr:.1f} dB, flicker {flicker:.2f} / {their_flicker:.2f}, "
    detail += f"{len(mine) / 1e3:.0f} / {len(other) / 1e3:.0f} kB, {1e3 * ours / len(frames):.2f} ms a frame"
    assert psnr >= their_psnr - 1
    assert len(mine) <= len(other)
    report(f"GIF, {side} px, {name}: times faster", theirs / ours, target, detail=detail, promise=0.6 * target)
