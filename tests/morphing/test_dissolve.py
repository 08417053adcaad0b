"""Dissolved pictures keep their contrast, and are themselves where nothing is mixed in."""

import pytest
import torch
from torch.testing import assert_close

from data.transforms import to_uint8
from vae.metrics.smoothness import gradient_energy
from vae.morphing.dissolve import dissolved


def textures(count: int, side: int = 64) -> torch.Tensor:
    """Pictures of squares, (count, 3, side, side), which have nothing in common."""
    coarse = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    return coarse.repeat_interleave(side // 16, 2).repeat_interleave(side // 16, 3)


@pytest.mark.parametrize("side", [32, 64, 256])
@pytest.mark.parametrize("count", [2, 3])
def test_the_mean_of_textures_has_their_contrast(count, side):
    pictures, shares = textures(count, side), torch.full((count, 1, 1, 1), 1 / count).expand(-1, -1, 64, 64)
    usual = gradient_energy(pictures).mean()
    assert gradient_energy(pictures.mean(0, keepdim=True)) < 0.6 * usual
    energy = gradient_energy(dissolved(pictures, shares))
    assert 0.85 * usual < energy < 1.15 * usual


@pytest.mark.parametrize("side", [64, 256])
def test_a_whole_share_is_the_picture_itself(side):
    pictures = textures(2, side)
    for chosen in range(2):
        shares = torch.zeros(2, 1, 64, 64)
        shares[chosen] = 1
        assert torch.equal(to_uint8(dissolved(pictures, shares)), to_uint8(pictures[chosen : chosen + 1]))


def test_colours_mix_and_like_pictures_stay():
    colours = torch.tensor([-0.8, 0.6])[:, None, None, None].expand(2, 3, 64, 64)
    shares = torch.full((2, 1, 64, 64), 0.5)
    assert_close(dissolved(colours, shares), torch.full((1, 3, 64, 64), -0.1), atol=1e-3, rtol=0)
    same = textures(1).expand(2, -1, -1, -1)
    assert_close(dissolved(same, shares), same[:1], atol=1e-4, rtol=0)
