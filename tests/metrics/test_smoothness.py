"""Smoothness of stub models whose numbers are known."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from data.synthetic.patterns import FACTORS, draw_patterns
from vae.latent.paths import PATHS
from vae.metrics.smoothness import gradient_energy, smoothness


class Stub:
    """A VAE of two plain functions."""

    device = torch.device("cpu")

    def __init__(self, decode, encode=lambda x: torch.zeros(len(x), 1)):
        self.decode = decode
        self._encode = encode

    def encode(self, x):
        mu = self._encode(x)
        return mu, torch.zeros_like(mu)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def line(start, end, frames):
    return torch.lerp(start, end, torch.linspace(0, 1, frames)[:, None])


def lines(frames, paths=1):
    """Straight paths in one dimension, from −1 to 1."""
    return line(-torch.ones(1), torch.ones(1), frames).expand(paths, -1, -1)


@pytest.fixture
def linear():
    """Orthonormal pictures, added up; the encoder undoes that exactly."""
    basis, _ = torch.linalg.qr(normal(64, 4))
    return Stub(lambda z: (z @ basis.T).reshape(-1, 1, 8, 8), lambda x: x.flatten(1) @ basis)


def blend(weight, start, end):
    """A decoder that goes from one picture to another as `weight` of z says."""
    return lambda z: torch.lerp(start, end, weight(z)[:, :, None, None])


def test_gradient_energy_is_the_mean_squared_difference_of_neighbours():
    x = normal(2, 3, 5, 7)
    for picture, energy in zip(x, gradient_energy(x), strict=True):
        down = [(picture[c, i + 1, j] - picture[c, i, j]) ** 2 for c in range(3) for i in range(4) for j in range(7)]
        across = [(picture[c, i, j + 1] - picture[c, i, j]) ** 2 for c in range(3) for i in range(5) for j in range(6)]
        assert_close(energy, torch.stack(down).mean() + torch.stack(across).mean())


def test_gradient_energy_keeps_every_leading_dimension():
    x = normal(2, 3, 1, 5, 5)
    assert_close(gradient_energy(x), torch.stack([gradient_energy(row) for row in x]))


def test_a_perfect_linear_model_is_perfectly_smooth(linear):
    result = smoothness(linear, line(normal(4), normal(4, seed=1), 9)[None], normal(1, 2, 1, 8, 8, seed=2))
    assert {value.shape for value in result} == {torch.Size([])}
    assert_close(result.cycle, torch.tensor(0.0), rtol=0, atol=1e-5)
    assert_close(result.off_manifold, torch.tensor(0.0), rtol=0, atol=1e-9)
    assert_close(result.jump, torch.tensor(1.0))


def test_a_hard_cut_is_one_jump_of_all_steps():
    cut = blend(lambda z: (z > 0.01).float(), normal(1, 3, 4, 4), normal(1, 3, 4, 4, seed=1))
    for frames in (3, 4, 8, 17):
        assert_close(smoothness(Stub(cut), lines(frames), normal(1, 2, 3, 4, 4)).jump, torch.tensor(frames - 1.0))


def test_uneven_steps_jump_by_the_largest_over_the_mean():
    squared = blend(lambda z: ((z + 1) / 2) ** 2, normal(1, 3, 4, 4), normal(1, 3, 4, 4, seed=1))
    result = smoothness(Stub(squared), lines(5), normal(1, 2, 3, 4, 4))
    assert_close(result.jump, torch.tensor((16 - 9) / 4))


def test_a_decoder_that_shows_one_picture_only_does_not_jump():
    still = Stub(blend(torch.zeros_like, normal(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)))
    for paths in (1, 2):
        result = smoothness(still, lines(5, paths), normal(paths, 2, 3, 4, 4))
        assert result.jump == 0, paths
        assert all(value.isfinite() for value in result), paths


def test_an_encoder_that_finds_only_the_centre_is_as_far_off_as_the_path(linear):
    end = normal(4)
    lost = Stub(linear.decode, lambda x: torch.zeros(len(x), 4))
    pictures = normal(1, 2, 1, 8, 8, seed=2)
    result = smoothness(lost, line(-end, end, 9)[None], pictures)
    inner = line(-end, end, 9)[1:-1]
    assert_close(result.cycle, torch.tensor([0.75, 0.5, 0.25, 0, 0.25, 0.5, 0.75]).mean())
    assert_close(result.off_manifold, linear.decode(inner).square().mean() / pictures.square().mean())


def test_cycle_does_not_depend_on_the_latents_unit(linear):
    stretched = Stub(lambda z: linear.decode(z / 10), lambda x: 10 * linear.encode(x)[0] + 1)
    shifted = Stub(linear.decode, lambda x: linear.encode(x)[0] + 0.1)
    path, pictures = line(normal(4), normal(4, seed=1), 9)[None], normal(1, 2, 1, 8, 8)
    assert_close(smoothness(stretched, 10 * path, pictures).cycle, smoothness(shifted, path, pictures).cycle)


def test_a_cross_fade_of_unlike_pictures_is_half_as_sharp_in_the_middle():
    pictures = normal(1, 2, 3, 64, 64)
    fade = Stub(blend(lambda z: (z + 1) / 2, pictures[:, 0], pictures[:, 1]))
    assert_close(smoothness(fade, lines(9), pictures).sharp_mid, torch.tensor(0.5), rtol=0, atol=0.03)


def test_frames_as_sharp_as_the_ends_are_sharp_throughout():
    pictures = normal(1, 2, 3, 16, 16) * torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1, 1)
    start, end = gradient_energy(pictures[0])

    def decode(z):
        energy = torch.lerp(start, end, (z + 1) / 2)
        return pictures[:, 0] * (energy / start).sqrt()[:, :, None, None]

    assert_close(smoothness(Stub(decode), lines(9), pictures).sharp_mid, torch.tensor(1.0))


def test_half_the_contrast_in_the_middle_is_a_quarter_of_the_sharpness():
    picture = normal(1, 3, 16, 16)
    fading = Stub(blend(lambda z: (1 - z.abs()) / 2, picture, torch.zeros_like(picture)))
    pictures = torch.stack([picture, picture], dim=1)
    assert_close(smoothness(fading, lines(9), pictures).sharp_mid, torch.tensor(0.25))


def test_blur_in_the_middle_lowers_sharpness_and_nothing_else_does():
    picture = normal(1, 3, 16, 16)
    blurred = F.avg_pool2d(picture, 3, stride=1, padding=1)
    pictures = torch.stack([picture, picture], dim=1)
    sharp, soft = (
        smoothness(Stub(blend(lambda z: 1 - z.abs(), picture, middle)), lines(9), pictures).sharp_mid
        for middle in (-picture.flip(3), blurred)
    )
    assert soft < 0.3 < sharp


def test_many_paths_score_the_mean_of_each_alone(linear):
    starts, ends = normal(5, 4), normal(5, 4, seed=1)
    bent = Stub(lambda z: linear.decode(z).tanh(), lambda x: linear.encode(x)[0])
    paths = torch.stack([line(a, b, 31) for a, b in zip(starts, ends, strict=True)])
    pictures = normal(5, 2, 1, 8, 8, seed=2)
    together = smoothness(bent, paths, pictures)
    alone = [smoothness(bent, paths[p : p + 1], pictures[p : p + 1]) for p in range(5)]
    for name in ("cycle", "sharp_mid", "jump"):
        each = torch.stack([getattr(result, name) for result in alone])
        assert each.std() > 0
        assert_close(getattr(together, name), each.mean())


@pytest.mark.slow
@pytest.mark.parametrize(("path", "ceiling"), [("linear", 0.78), ("slerp", 0.80)])
def test_even_the_patterns_own_factors_lose_sharpness_on_the_way(path, ceiling):
    """What a model would score that drew the family perfectly and had its factors, made normal, for latents."""
    prior = torch.distributions.Normal(0.0, 1.0)

    def perfect(z):
        return draw_patterns(prior.cdf(z) if path == "slerp" else z, 64).permute(0, 3, 1, 2) * 2 - 1

    factors = torch.rand(128, len(FACTORS), generator=torch.Generator().manual_seed(0)).clamp(0.001, 0.999)
    ends = (prior.icdf(factors) if path == "slerp" else factors).reshape(64, 2, -1)
    walks = torch.stack([PATHS[path](pair, torch.linspace(0, 1, 16), False) for pair in ends])
    pictures = perfect(ends.flatten(0, 1)).reshape(64, 2, 3, 64, 64)
    assert smoothness(
        Stub(perfect, lambda x: torch.zeros(len(x), len(FACTORS))), walks, pictures
    ).sharp_mid.item() == pytest.approx(ceiling, abs=0.01)
