"""The detail of keyframes: whole at its keyframe, gone half-way, and never twice."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from vae.generator import seeded_latents
from vae.latent.paths import linear, slerp
from vae.tuning.detail import Detail


def of(pivots: torch.Tensor) -> Detail:
    return Detail(pivots, {k: np.full((2, 2, 3), 10 * (k + 1), np.int16) for k in range(len(pivots))})


@pytest.mark.parametrize("path", [linear, slerp])
@pytest.mark.parametrize("count", [2, 5])
def test_detail_fades_from_each_keyframe_until_half_way(path, count):
    pivots = seeded_latents(0, count, 32)
    detail, t = of(pivots), torch.linspace(0, count - 1, 40 * (count - 1) + 1, dtype=torch.float64)
    weights = detail.weights(path(pivots, t))
    assert_close(weights[::40], torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-6)
    assert (weights.count_nonzero(1) <= 1).all()
    assert (weights[20::40] < 0.02).all()
    assert weights.diff(dim=0).abs().max() < 0.12
    far = detail.weights(seeded_latents(9, 20, 32))
    assert far.max() == 0


def test_like_keyframes_add_their_detail_once():
    one, other = seeded_latents(0, 2, 8)
    detail = of(torch.stack([one, other, one]))
    assert_close(detail.weights(one[None]), torch.tensor([[0.5, 0, 0.5]], dtype=torch.float64))


def test_around_one_keyframe_detail_reaches_half_the_length_of_random_latents():
    pivot = seeded_latents(0, 1, 16)
    step = torch.eye(16)[:1]
    weights = of(pivot).weights(torch.cat([pivot, pivot + step, pivot + 2 * step, pivot + 9 * step]))[:, 0]
    assert_close(weights, torch.tensor([1, 0.5, 0, 0], dtype=torch.float64))


def test_frames_stay_within_the_range_of_bytes():
    detail = Detail(torch.eye(2), {0: np.array([[[-300, 300, 7]]], np.int16)})
    frame = np.array([[[100, 100, 100]]], np.uint8)
    assert detail.added(frame, torch.tensor([1.0, 0])).tolist() == [[[0, 255, 107]]]
    assert detail.added(frame, torch.tensor([0.5, 0])).tolist() == [[[0, 250, 104]]]
    assert detail.added(frame, torch.tensor([0.0, 1])) is frame
