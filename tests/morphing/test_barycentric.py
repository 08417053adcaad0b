"""Between several pictures: corners are what was given, and two of them meet where a known middle is."""

import pytest
import torch
from test_metamorphosis import KNOWN, thing
from torch.testing import assert_close

from data.transforms import to_uint8
from vae.morphing.barycentric import barycentric, flows_among
from vae.tuning.pivotal import psnr

FOUR = torch.cat([thing(), thing(0.1, 0.7, 30, "blue"), thing(-0.2, colour="purple"), thing(degrees=-40)])


@pytest.fixture(scope="module")
def flows() -> torch.Tensor:
    return flows_among(FOUR)


def test_flows_there_and_back_are_opposite(flows):
    assert flows.shape[:3] == (4, 4, 2)
    assert_close(flows, -flows.transpose(0, 1))


@pytest.mark.parametrize("drawn", ["noise", "grey"])
def test_each_picture_is_shown_exactly_whatever_the_model_draws(flows, drawn):
    x = torch.rand(4, 3, 64, 64) * 2 - 1 if drawn == "noise" else torch.zeros(4, 3, 64, 64)
    assert torch.equal(to_uint8(barycentric(FOUR, flows, torch.eye(4), x)), to_uint8(FOUR))


def test_the_order_of_the_pictures_does_not_matter(flows):
    weights, order = torch.tensor([[0.4, 0.3, 0.2, 0.1]]), torch.tensor([2, 0, 3, 1])
    x = FOUR.mean(0, keepdim=True)
    other = barycentric(FOUR[order], flows[order][:, order], weights[:, order], x)
    assert_close(barycentric(FOUR, flows, weights, x), other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KNOWN)
def test_half_of_each_of_two_is_nearer_to_the_truth_than_a_cross_fade_is(kind):
    start, truth, end = KNOWN[kind]
    pictures, fade = torch.cat([start, end]), (start + end) / 2
    frame = barycentric(pictures, flows_among(pictures), torch.full((1, 2), 0.5), fade)
    ours, of_fade = psnr(torch.cat([frame, fade]), truth.expand(2, -1, -1, -1))
    assert ours > of_fade + 2


def test_the_model_says_which_of_two_is_seen():
    start, end = thing(), thing(colour="blue")
    pictures, half = torch.cat([start, end]), torch.full((1, 2), 0.5)
    near_start, near_end = (barycentric(pictures, flows_among(pictures), half, x)[0] for x in (start, end))
    assert psnr(near_start[None], start) > psnr(near_start[None], end)
    assert psnr(near_end[None], end) > psnr(near_end[None], start)
