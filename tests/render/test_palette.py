"""Laws of the palettes of GIFs, and how near they are to the frames."""

import io
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vae.render.formats.quantize import Quantizer
from vae.render.formats.writers import encode_animation


def shown(palette, frame):
    indices, colours = palette(frame)
    return colours[indices]


def drift(count=12, side=64):
    """Smooth colours that move slowly."""
    y, x = np.mgrid[:side, :side] / side
    phases = np.arange(count) / count
    return [
        (127.5 + 100 * np.stack([np.sin(2 * x + p), np.cos(3 * y + p), np.sin(x + y - p)], -1)).astype(np.uint8)
        for p in phases
    ]


def psnr(frames, found):
    error = np.mean([np.square(a.astype(float) - b).mean() for a, b in zip(frames, found, strict=True)])
    return 10 * np.log10(255**2 / max(error, 0.05))  # nobody sees less


def median_cut(frames, colours=256):
    few = [Image.fromarray(frame).quantize(colours, dither=Image.Dither.NONE) for frame in frames]
    return [np.asarray(frame.convert("RGB")) for frame in few]


def flicker(frames, found):
    errors = [a.astype(float) - b for a, b in zip(found, frames, strict=True)]
    return np.mean([np.abs(b - a).mean() for a, b in pairwise(errors)])


@given(st.integers(0, 10**6), st.integers(1, 256))
@settings(deadline=None, max_examples=15)
def test_a_frame_of_few_colours_is_exact(seed, count):
    rng = np.random.default_rng(seed)
    spread = rng.permutation(64**3)[:count]  # one colour in a cell
    colours = np.stack([spread >> 12, spread >> 6 & 63, spread & 63], 1).astype(np.uint8) * 4
    frame = colours[rng.integers(0, count, (24, 32))]
    assert np.array_equal(shown(Quantizer(), frame), frame)


def test_every_grey_is_exact():
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)
    assert np.array_equal(shown(Quantizer(), ramp), ramp)


@given(st.integers(0, 10**6), st.sampled_from([2, 16, 200, 256]))
@settings(deadline=None, max_examples=10)
def test_any_frame_has_indices_into_its_palette_and_the_same_every_time(seed, colours):
    rng = np.random.default_rng(seed)
    frames = [rng.integers(0, 256, (8, 9, 3), dtype=np.uint8) for _ in range(3)]
    one, other = Quantizer(colours), Quantizer(colours)
    for frame in frames:
        indices, palette = one(frame)
        assert (indices.shape, palette.shape) == ((8, 9), (colours, 3))
        assert indices.max() < colours
        again, same = other(frame)
        assert np.array_equal(again, indices)
        assert np.array_equal(same, palette)


@pytest.mark.parametrize("colours", [16, 64, 256])
def test_frames_are_nearer_than_with_median_cut(colours):
    frames, palette = drift(), Quantizer(colours)
    assert psnr(frames, [shown(palette, frame) for frame in frames]) > psnr(frames, median_cut(frames, colours))


@pytest.mark.parametrize("speed", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_colours_that_move_together_flicker_less_than_with_median_cut(speed):
    frames, palette = drift(60, 48)[::speed], Quantizer()
    assert flicker(frames, [shown(palette, frame) for frame in frames]) < 0.8 * flicker(frames, median_cut(frames))


def spot(count=30, side=64):
    """Many colours come in on a flat ground."""
    y, x = np.mgrid[:side, :side] / side
    inner = 127 + 120 * np.stack([np.sin(9 * x), np.cos(7 * y), np.sin(6 * x + 5 * y)], -1)
    shares = np.hypot(x - 0.5, y - 0.5) / 0.7
    return [np.where((shares < k / count)[..., None], inner, (30, 60, 120)).astype(np.uint8) for k in range(count)]


def stripes(side, period, count=8):
    colours = np.random.default_rng(0).integers(0, 256, (period, 3))
    still = np.repeat(colours[np.arange(side) % period][None], side, 0)
    waves = np.sin(np.arange(side)[:, None, None] / side * 3 + 0.1 * np.arange(count)[:, None, None, None])
    return list((still * (0.7 + 0.3 * waves)).astype(np.uint8))


FILMS = {"spot": partial(spot, 20, 48), "drift": partial(drift, 20, 48)} | {
    f"{period} stripes on {side}": partial(stripes, side, period) for period, side in ((5, 240), (12, 192), (12, 241))
}


USUAL = ("spot", "12 stripes on 241")


@pytest.mark.parametrize(
    "film", [name if name in USUAL else pytest.param(name, marks=pytest.mark.slow) for name in FILMS]
)
def test_frames_are_nearly_as_near_as_with_palettes_that_know_no_other_frame(film):
    frames, palette = FILMS[film](), Quantizer()
    lost = [psnr([frame], [shown(Quantizer(), frame)]) - psnr([frame], [shown(palette, frame)]) for frame in frames]
    assert max(lost) < 2
    assert np.median(lost) < 0.7


def test_more_colours_are_nearer():
    frames = drift()
    found = [psnr(frames, [shown(palette, frame) for frame in frames]) for palette in map(Quantizer, (8, 32, 128, 256))]
    assert found == sorted(found)


def test_a_still_palette_does_not_move():
    palette, frame = Quantizer(64), drift(1)[0]
    for _ in range(20):
        before = shown(palette, frame)
    assert np.abs(shown(palette, frame).astype(int) - before).mean() < 0.3


def test_a_gif_is_no_larger_than_pillows():
    frames = drift()
    file = io.BytesIO()
    first, *rest = map(Image.fromarray, frames)
    first.save(file, "GIF", save_all=True, append_images=rest, duration=50, loop=0)
    assert len(encode_animation(frames, ".gif", 20)) < 1.02 * len(file.getvalue())


@pytest.mark.parametrize("colours", [16, 64, 256])
def test_the_first_frame_is_as_near_as_the_others(colours):
    frames, palette = drift(24)[:12], Quantizer(colours)
    found = [psnr([frame], [shown(palette, frame)]) for frame in frames]
    assert found[0] > np.median(found) - 1


def test_after_a_hard_cut_frames_are_as_near_as_before_or_as_a_first_frame():
    one, other = drift(2)
    palette, before = Quantizer(), 100.0
    for scene in [one, 255 - other // 2, other[:, :, ::-1] // 3, one]:
        near = psnr([scene], [shown(palette, scene)])
        assert near > min(before, psnr([scene], [shown(Quantizer(), scene)])) - 2
        before = near
