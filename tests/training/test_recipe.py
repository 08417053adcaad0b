"""The parts of the recipe, each by the law it obeys."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from data.synthetic.patterns import patterns
from data.transforms import to_tensor
from vae.latent.keyframes import parse_keyframe
from vae.latent.paths import slerp
from vae.model.blur import blur
from vae.model.discriminator import Discriminator
from vae.model.likelihoods import haar
from vae.model.networks import PaletteMixer
from vae.model.pca_latents import PCALatents
from vae.model.vae import VAE
from vae.render import lines_benchmark
from vae.training.optimizer import clip_gradients

LINES = lines_benchmark.line_images(lines_benchmark.random_pairs(3, 400).flatten())
PATTERNS = to_tensor(patterns(3, torch.arange(400), 32))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Blur


@pytest.mark.parametrize("sigma", [0, 0.5, 3, 20])
def test_blur_keeps_flat_pictures_and_never_leaves_the_range(sigma):
    assert_close(blur(torch.full((1, 3, 16, 16), 0.3), sigma), torch.full((1, 3, 16, 16), 0.3))
    x = normal(2, 3, 16, 16).clamp(-1, 1)
    blurred = blur(x, sigma)
    assert blurred.min() >= x.min()
    assert blurred.max() <= x.max()


def test_blurring_twice_is_blurring_once_by_the_root_of_the_sum_of_squares():
    dot = torch.zeros(1, 1, 41, 41)
    dot[..., 20, 20] = 1
    assert_close(blur(blur(dot, 1.5), 2), blur(dot, 2.5), atol=1e-5, rtol=0)


def test_more_blur_leaves_less_variance():
    spread = [blur(normal(1, 1, 32, 32), sigma).var().item() for sigma in (0, 0.5, 1, 2, 4, 8)]
    assert spread == sorted(spread, reverse=True)


# Wavelet


@pytest.mark.parametrize("channels", [1, 3])
def test_haar_keeps_the_sum_of_squares_and_is_linear(channels):
    x, y = normal(2, channels, 8, 8), normal(2, channels, 8, 8, seed=1)
    energy = sum(band.square().sum(1) for band in haar(x))
    assert_close(energy, x.square().flatten(1).sum(1))
    for a, b, both in zip(haar(x), haar(y), haar(x - 2 * y), strict=True):
        assert_close(a - 2 * b, both)


def test_flat_pictures_have_no_details():
    details, means = haar(torch.full((1, 3, 8, 8), 0.5))
    assert details.abs().max() == 0
    assert_close(means, torch.ones(1, 48))


# PCA latents


@pytest.fixture(params=[LINES, PATTERNS], ids=["lines", "patterns"])
def fitted(request):
    pca_latents = PCALatents(request.param.shape[1], 6)
    pca_latents.fit(request.param.split(64), 0.05)
    return pca_latents, request.param


def test_pca_latents_have_the_priors_moments(fitted):
    pca_latents, pictures = fitted
    code = pca_latents(pictures)
    used = pca_latents.mask > 0
    assert 0 < used.sum() < 6
    assert code[:, ~used].abs().max() == 0
    assert code[:, used].mean(0).abs().max() < 0.05
    assert_close((code.T @ code / len(code))[used][:, used], torch.eye(int(used.sum())), atol=0.05, rtol=0)


def test_turning_lines_have_codes_on_a_circle_which_they_pass_evenly():
    pca_latents = PCALatents(1, 6)
    pca_latents.fit([LINES], 0.05)
    assert pca_latents.mask.tolist() == [1, 1, 0, 0, 0, 0]
    angles = torch.linspace(0, 2 * math.pi, 65, dtype=torch.float64)
    code = pca_latents(lines_benchmark.line_images(angles))
    assert_close(code.norm(dim=1), torch.full((65,), math.sqrt(2)))
    turned = torch.atan2(code[:, 1], code[:, 0]).diff()
    turned = (turned + math.pi) % (2 * math.pi) - math.pi
    assert turned.sum().abs().item() == pytest.approx(2 * math.pi, abs=1e-4)
    assert_close(turned.abs(), torch.full((64,), 2 * math.pi / 64), atol=0.02, rtol=0)


def test_colourful_patterns_keep_the_lengths_of_their_codes():
    pca_latents = PCALatents(3, 6)
    pca_latents.fit([PATTERNS], 0.05)
    assert pca_latents.radius == 0
    z = normal(5, 6)
    assert_close(pca_latents.onto_sphere(z), z)


def test_onto_sphere_moves_pca_latents_alone_and_only_once():
    pca_latents = PCALatents(1, 6)
    pca_latents.fit([LINES], 0.05)
    z = normal(5, 6)
    moved = pca_latents.onto_sphere(z)
    assert_close(moved[:, 2:], z[:, 2:])
    assert_close(moved[:, :2].norm(dim=1), torch.full((5,), math.sqrt(2)))
    assert_close(pca_latents.onto_sphere(moved), moved)


def test_the_encoder_gives_pca_latents_and_the_decoder_sees_them_on_their_sphere():
    vae = VAE(32, 1, latent_dim=6, width=8, pca_share=0.05).eval()
    vae.pca_latents.fit([LINES], 0.05)
    mu, logvar = vae.encode(LINES[:8])
    assert_close(mu[:, :2], vae.pca_latents(LINES[:8])[:, :2])
    assert logvar[:, :2].unique().numel() == 1
    away = mu * torch.tensor([3.0, 3.0, 1, 1, 1, 1])
    assert_close(vae.decode(away), vae.decode(mu))
    assert_close(vae.decoder(away), vae.decode(mu))


def test_pictures_that_are_all_the_same_give_no_pca_latents():
    pca_latents = PCALatents(1, 6)
    pca_latents.fit([LINES[:1].expand(9, -1, -1, -1)], 0.05)
    assert pca_latents.mask.sum() == 0
    assert pca_latents(LINES[:2]).abs().max() == 0


@pytest.mark.parametrize("count", [3, 5])
def test_a_handful_of_pictures_does_not_pass_for_a_sphere(count):
    pca_latents = PCALatents(1, 6)
    pca_latents.fit([normal(count, 1, 32, 32)], 0.01)
    assert pca_latents.mask.sum() > 1
    assert pca_latents.radius == 0


# Inactive latents


def test_an_inactive_latent_says_nothing_is_not_heard_and_does_not_bend_a_path():
    vae = VAE(32, 1, latent_dim=6, width=8, inactive_below=1.0).eval()
    active, _ = vae.encode(LINES[:8])
    vae.inactive[3:] = 1
    mu, logvar = vae.encode(LINES[:8])
    assert_close(mu[:, :3], active[:, :3])
    assert mu[:, 3:].abs().max() == logvar[:, 3:].abs().max() == 0
    assert slerp(mu, torch.linspace(0, 7, 20))[:, 3:].abs().max() == 0
    assert_close(vae.decode(active), vae.decode(mu))
    assert_close(vae.decoder(active), vae.decode(mu))
    assert_close(copy.deepcopy(vae).decode(active), vae.decode(mu))
    assert_close(parse_keyframe(vae, "5").z[3:], torch.zeros(3))


# Discriminator


@pytest.mark.parametrize("size", [32, 64, 176])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_discriminator_has_one_verdict_for_each_picture(size, channels):
    x = normal(3, channels, size, size)
    verdict = Discriminator(size, channels, 8)(x)
    assert verdict.shape == (3,)
    assert verdict.isfinite().all()


def test_doubts_teach_the_decoder_and_the_verdict_the_discriminator():
    discriminator = Discriminator(32, 1, 8)
    real, fake = normal(4, 1, 32, 32), normal(4, 1, 32, 32, seed=1).requires_grad_()
    discriminator.generator_loss(fake).backward()
    assert fake.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in discriminator.parameters())
    fake.grad = None
    discriminator.discriminator_loss(real, fake).backward()
    assert fake.grad is None
    assert all(weight.grad is not None for weight in discriminator.parameters())


def test_a_discriminator_learns_to_tell_blurry_pictures():
    torch.manual_seed(0)
    discriminator = Discriminator(32, 3, 8)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3)
    blurry = blur(PATTERNS, 1.5)
    for step in range(60):
        rows = torch.arange(16) + 16 * (step % 20)
        optimizer.zero_grad()
        discriminator.discriminator_loss(PATTERNS[rows], blurry[rows]).backward()
        optimizer.step()
    assert discriminator(PATTERNS[320:]).mean() > discriminator(blurry[320:]).mean() + 1


def test_the_gradient_penalty_of_a_linear_discriminator_is_its_squared_slope():
    discriminator = Discriminator(32, 1, 8)
    discriminator.layers = nn.Sequential(nn.Flatten(), nn.Linear(1024, 1))
    assert_close(discriminator.gradient_penalty(normal(3, 1, 32, 32)), discriminator.layers[1].weight.square().sum())


# Cycle


@pytest.mark.parametrize("inactive_below", [0.0, 1.0])
def test_the_cycle_error_is_that_of_the_codes_of_decoded_pictures_and_teaches_the_decoder_alone(inactive_below):
    vae = VAE(32, 1, latent_dim=6, width=8, pca_share=0.05, inactive_below=inactive_below)
    vae.pca_latents.fit([LINES], 0.05)
    if inactive_below:
        vae.inactive[4:] = 1
    z = normal(5, 6)
    error = vae.cycle_error(z, vae.decode(z))
    heard = vae.pca_latents.onto_sphere(z) * torch.tensor([1, 1, 1, 1, 1 - inactive_below, 1 - inactive_below])
    assert_close(error, (vae.encode(vae.decode(z))[0] - heard).square().mean())
    error.backward()
    assert all(weight.grad is None for weight in vae.encoder.parameters())
    assert vae.decoder.project.weight.grad.abs().sum() > 0


# Clipping


def test_each_part_is_clipped_to_a_norm_of_its_own():
    parts = [nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)]
    for part, size in zip(parts, (100.0, 10.0, 0.1), strict=True):
        part.weight.grad = torch.tensor([[size, 0, 0]])
    clip_gradients([*parts, None], 1.0)
    assert_close(torch.tensor([part.weight.grad.norm() for part in parts]), torch.tensor([1, 1, 0.1]))
    clip_gradients([*parts], None)
    assert_close(parts[2].weight.grad, torch.tensor([[0.1, 0, 0]]))


# Palette


def test_a_palette_without_a_rest_draws_blends_of_its_colours():
    palette = PaletteMixer(4, 3, 5)
    z, maps = normal(2, 4), normal(2, 8, 16, 16)
    maps[:, :3] = 0
    drawn, colours = palette(z, maps), 2 * palette.colours(z)
    assert (drawn <= colours.amax(2)[..., None, None] + 1e-5).all()
    assert (drawn >= colours.amin(2)[..., None, None] - 1e-5).all()


def test_a_mask_that_wins_everywhere_gives_its_colour():
    palette = PaletteMixer(4, 3, 5)
    maps = torch.zeros(1, 8, 4, 4)
    maps[:, 3 + 2] = 50
    z = normal(1, 4)
    assert_close(palette(z, maps)[0, :, 1, 1], 2 * palette.colours(z)[0, :, 2])
