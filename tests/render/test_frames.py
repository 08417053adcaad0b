"""Frames from latents, their sizes, and the captions around them."""

from itertools import product

import numpy as np
import pytest
import torch

from data.transforms import to_uint8
from vae.inference import decode_batches
from vae.model.vae import VAE
from vae.render.formats.captions import caption, in_column, in_row
from vae.render.formats.frame import resize
from vae.render.frames import prefetch, render_frames

COUNT = 40


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=[1, 3], ids=["grey", "RGB"])
def vae(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(32, request.param, latent_dim=4, width=8).eval()


@pytest.fixture(scope="module")
def z():
    return 3 * torch.randn(COUNT, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def together(vae, z):
    return list(render_frames(decode_batches(vae, z)))


def test_a_frame_is_the_same_however_many_are_decoded_together(vae, z, together):
    for count, first in ((1, 0), (1, COUNT - 1), (5, 0), (32, COUNT - 32), (33, COUNT - 33)):
        frames = list(render_frames(decode_batches(vae, z[first : first + count])))
        assert len(frames) == count
        assert np.array_equal(frames, together[first : first + count]), (count, first)


def test_frames_are_the_decoded_pictures_in_order_as_rgb_bytes(vae, z, together):
    with torch.no_grad():
        expected = to_uint8(vae.decode(z)).expand(-1, -1, -1, 3).numpy().astype(int)
    assert {(frame.shape, frame.dtype) for frame in together} == {((32, 32, 3), np.dtype(np.uint8))}
    assert np.abs(np.stack(together) - expected).max() <= 1
    assert len({frame.tobytes() for frame in together}) == COUNT


def test_bfloat16_is_off_by_a_few_levels_and_is_the_same_however_many_are_decoded_together(vae, z, together):
    rough = list(render_frames(decode_batches(vae, z, torch.bfloat16)))
    assert 0 < np.abs(np.stack(rough).astype(int) - together).max() <= 8
    assert np.array_equal(list(render_frames(decode_batches(vae, z[3:8], torch.bfloat16))), rough[3:8])


def test_frames_are_streamed(vae, z):
    batches = []
    hook = vae.decoder.register_forward_hook(lambda *_: batches.append(1))
    next(render_frames(decode_batches(vae, z.repeat(3, 1))))
    hook.remove()
    assert len(batches) <= 2, "one is made while another is used"


@pytest.mark.parametrize("resample", ["nearest", "lanczos"])
def test_resize_gives_the_size_asked_for_keeps_plain_colours_and_changes_nothing_at_the_same_size(resample):
    plain, frame = np.full((32, 32, 3), (10, 200, 77), dtype=np.uint8), noise(32, 32)
    for size in (8, 31, 32, 33, 100):
        expected = np.full((size, size, 3), (10, 200, 77), dtype=np.uint8)
        assert np.array_equal(resize(plain, size, resample), expected), size
    assert np.array_equal(resize(frame, 32, resample), frame)


def test_nearest_makes_hard_squares():
    frame = noise(16, 16)
    for factor in (2, 5):
        assert np.array_equal(resize(frame, 16 * factor, "nearest"), frame.repeat(factor, 0).repeat(factor, 1))


def test_lanczos_makes_smooth_ramps_of_a_hard_edge():
    edge = np.zeros((16, 16, 3), dtype=np.uint8)
    edge[:, 8:] = 255
    row = resize(edge, 64, "lanczos")[32, :, 0].astype(int)
    assert len(set(row[28:36])) > 4
    assert (np.diff(row[28:36]) >= 0).all()


def test_a_caption_adds_a_bar_below_and_leaves_the_frame_as_it_is():
    texts = ("", "seed 1", "a text that is far too long for its narrow picture " * 3)
    for (height, width), text in product(((32, 32), (64, 64), (256, 256), (256, 900)), texts):
        frame = noise(height, width)
        result = caption(frame, text)
        assert result.dtype == np.uint8
        assert np.array_equal(result[:height], frame)
        bar = result[height:]
        assert bar.shape == (2 * max(10, height // 12), width, 3)
        assert bar.max() == 255
        assert (bar.min() < 128) == bool(text)


def test_a_long_caption_is_written_smaller_and_fits():
    bar = caption(noise(160, 160), "a very long name of a checkpoint")[160:, :, 0]
    dark = np.flatnonzero((bar < 200).any(0))
    assert dark[0] > 0
    assert dark[-1] < 159


def test_a_caption_is_centred():
    bar = caption(noise(256, 256), "oo")[256:, :, 0]
    inked = np.flatnonzero((bar < 128).any(0))
    assert abs((inked[0] + inked[-1]) / 2 - 127.5) <= 2


def test_rows_and_columns_keep_every_frame_in_its_place():
    a, b, c = (noise(8, 10, seed) for seed in range(3))
    row, column = in_row([a, b, c]), in_column([a, b, c])
    assert row.shape == (8, 30, 3)
    assert column.shape == (24, 10, 3)
    assert np.array_equal(row[:, 10:20], b)
    assert np.array_equal(column[16:], c)


def test_frames_made_ahead_are_the_same_in_the_same_order():
    for count in (0, 1, 2, 50):
        frames = [noise(2, 2) for _ in range(count)]
        assert all(a is b for a, b in zip(prefetch(iter(frames)), frames, strict=True))


def test_what_goes_wrong_ahead_is_told():
    def broken():
        yield from [noise(2, 2)] * 20
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(prefetch(broken()))


def test_frames_are_not_made_far_prefetch():
    made = []
    frames = prefetch(made.append(index) or index for index in range(1, 1000))
    assert next(frames) == 1
    frames.close()
    assert len(made) <= 2
