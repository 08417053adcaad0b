"""Flows have inverses, and pictures that do not move stay what they are."""

import pytest
import torch
from torch.testing import assert_close

from vae.morphing.flow import displaced, displacement, places


def velocity(seed: int, size: float) -> torch.Tensor:
    return size * torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("side", [15, 64, 256])
def test_without_a_velocity_nothing_changes(mode, side):
    x = torch.rand(2, 3, side, side)
    assert_close(displaced(x, displacement(torch.zeros(1, 2, 6, 6)), mode), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_a_flow_backwards_undoes_it(seed):
    forth, back = (displacement(velocity(seed, size)) for size in (0.1, -0.1))
    there_and_back = forth + displaced(back, forth)
    inside = (places(64) + forth).abs().amax(1) < 0.9
    assert forth.abs().max() > 0.1
    assert there_and_back.norm(dim=1)[inside].max() < 0.02


def test_twice_half_the_time_is_the_whole():
    half, whole = displacement(velocity(1, 0.05)), displacement(velocity(1, 0.1))
    inside = (places(64) + whole).abs().amax(1) < 0.9
    assert (half + displaced(half, half) - whole).norm(dim=1)[inside].max() < 0.01


def test_a_flow_turns_pictures_by_its_angle():
    quarter = torch.pi / 2 * torch.cat([-places(8)[:, 1:], places(8)[:, :1]], 1)
    u = displacement(quarter)
    inside = places(64).norm(dim=1) < 0.8
    turned = torch.cat([-places(64)[:, 1:], places(64)[:, :1]], 1)
    assert (places(64) + u - turned).norm(dim=1)[inside].max() < 0.05
