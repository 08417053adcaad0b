"""GIFs against imageio's own writer, and drafts against what is usual."""

import io

import imageio
import numpy as np
import pytest
from PIL import Image

from benchmarks.films import FILMS, film
from vae.render.formats.format import FORMATS
from vae.render.formats.quantize import Quantizer
from vae.render.formats.writers import encode_animation

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
def test_gifs_are_faster_and_nearer(name, side, target, report, in_turn):
    frames, palette = film(name, side), Quantizer()
    indices = [Image.fromarray(palette(frame)[0]) for frame in frames]
    ours, draft, lzw, theirs = in_turn(
        lambda: encode_animation(frames, ".gif", FPS),
        lambda: encode_animation(frames, ".gif", FPS, "draft"),
        lambda: [picture.tobytes("gif", "L") for picture in indices],
        lambda: imageios(frames),
    )
    other = imageios(frames)
    their_psnr, their_flicker = quality(frames, other)

    def add(what, seconds, target, quality_, promise):
        mine = encode_animation(frames, ".gif", FPS, quality_)
        psnr, flicker = quality(frames, mine)
        detail = f"PSNR {psnr:.1f} / {their_psnr:.1f} dB, flicker {flicker:.2f} / {their_flicker:.2f}, "
        detail += f"{len(mine) / 1e3:.0f} / {len(other) / 1e3:.0f} kB, {1e3 * seconds / len(frames):.2f} ms a frame"
        report(what, theirs / seconds, target, detail=detail, promise=promise, limit=theirs / lzw)
        return psnr, flicker, len(mine)

    psnr, flicker, size = add(f"GIF, {side} px, {name}: times faster than imageio", ours, target, None, 0.5 * target)
    assert psnr >= their_psnr
    assert flicker <= 1.05 * their_flicker or flicker < 0.8
    assert size <= 1.06 * len(other)
    psnr, _, _ = add(f"GIF, {side} px, {name}, draft: likewise", draft, 20, "draft", 4)
    assert psnr > 35


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix != ".gif"])
def test_drafts_of_other_formats(suffix, report, in_turn):
    frames = film("model", 256)
    draft, usual = in_turn(
        lambda: encode_animation(frames, suffix, FPS, "draft"), lambda: encode_animation(frames, suffix, FPS), repeats=3
    )
    detail = f"{1e3 * usual / len(frames):.1f} ms a frame"
    report(f"{suffix}, 256 px, model, draft: times faster", usual / draft, 2, detail=detail, promise=1.2)
