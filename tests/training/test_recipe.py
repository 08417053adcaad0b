"""The parts of the recipe, each by the law it obeys."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from data.synthetic.patterns import patterns
from data.transforms import to_tensor
from vae.latent.keyframes import parse_keyframe
from vae.latent.paths import slerp
from vae.model.augmentation import augment
from vae.model.blur import blur
from vae.model.discriminator import Discriminator
from vae.model.latents.pca_latents import PCALatents
from vae.model.latents.prior_flow import PriorFlow
from vae.model.likelihoods import haar
from vae.model.networks import PaletteMixer
from vae.model.vae import VAE
from vae.render import lines_benchmark
from vae.training.module import VAETraining
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


def test_turning_lines_have_codes_on_a_circle_which_they_pass_nearly_evenly():
    pca_latents = PCALatents(1, 6)
    pca_latents.fit([LINES], 0.05)
    assert pca_latents.mask.tolist() == [1, 1, 0, 0, 0, 0]
    angles = torch.linspace(0, 2 * math.pi, 65, dtype=torch.float64)
    code = pca_latents(lines_benchmark.line_images(angles))
    assert_close(code.norm(dim=1), torch.full((65,), math.sqrt(2)))
    turned = torch.atan2(code[:, 1], code[:, 0]).diff()
    turned = (turned + math.pi) % (2 * math.pi) - math.pi
    assert turned.sum().abs().item() == pytest.approx(2 * math.pi, abs=1e-4)
    even = (turned.abs() - 2 * math.pi / 64).abs()
    assert even.median() < 0.02
    assert even.max() < 0.25, "where lines pass a diagonal, they change their ends and their width"


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
    vae = VAE(32, 1, latent_dim=6, width=8, whiten=False, pca_share=0.05).eval()
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


@pytest.mark.parametrize("size", [32, 48, 176])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_discriminator_has_a_verdict_for_each_block_of_eight_pixels_which_sees_what_is_near_it(size, channels):
    x, discriminator = normal(2, channels, size, size), Discriminator(channels)
    verdict = discriminator(x)
    assert verdict.shape == (2, size // 8, size // 8)
    assert verdict.isfinite().all()
    x[..., size // 2 :] = 0  # its right half
    changed = (discriminator(x) - verdict).abs().amax((0, 1)) > 1e-6
    assert changed[size // 16 :].all()
    assert not changed[: max(0, size // 16 - 3)].any()


def test_doubts_teach_the_decoder_and_the_verdict_the_discriminator():
    discriminator = Discriminator(1)
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
    discriminator = Discriminator(3)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3)
    blurry = blur(PATTERNS, 1.5)
    for step in range(60):
        rows = torch.arange(16) + 16 * (step % 20)
        optimizer.zero_grad()
        discriminator.discriminator_loss(PATTERNS[rows], blurry[rows]).backward()
        optimizer.step()
    assert discriminator(PATTERNS[320:]).mean() > discriminator(blurry[320:]).mean() + 1


def test_the_gradient_penalty_is_the_squared_slope_of_the_mean_verdict_every_sixteenth_step():
    discriminator = Discriminator(1)
    discriminator.layers = nn.Sequential(nn.Flatten(), nn.Linear(1024, 64), nn.Unflatten(1, (1, 8, 8)))
    slope = discriminator.layers[1].weight.mean(0)
    x = normal(3, 1, 32, 32)
    penalties = torch.stack([discriminator.gradient_penalty(x, step) for step in range(32)])
    assert_close(penalties[[0, 16]], (16 * 0.1 / 2 * slope.square().sum()).expand(2))
    assert penalties.count_nonzero() == 2


# Augmentation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_augmented_pictures_are_brighter_darker_stronger_or_paler_and_shifted_a_little():
    ramp = torch.linspace(-0.5, 0.5, 64).expand(400, 3, 64, 64)
    changed = augment(ramp, generator())
    slope = changed.diff(dim=-1)[..., 8:-8] / ramp.diff(dim=-1)[..., 8:-8]
    assert_close(slope, slope[:, :1, :1, :1].expand_as(slope), atol=1e-4, rtol=0)  # one contrast a picture
    contrast = slope[:, 0, 0, 0]
    assert contrast.min() >= 0.5 - 1e-4
    assert contrast.max() <= 1.5 + 1e-4
    assert contrast.std() > 0.2
    brightness = changed[:, 0, 0, 32] - ramp[:, 0, 0, 32]  # and a shift by up to four pixels of the ramp
    assert 0.2 < brightness.abs().max() < 0.3 + 1.5 * 5 / 63


def test_pictures_are_all_shifted_alike_by_a_sixteenth_of_their_side_at_most():
    x, places = torch.zeros(3, 1, 64, 64), set()
    x[:, :, 30, 40] = 1
    for seed in range(60):
        brightest = augment(x, generator(seed)).flatten(1).argmax(1).unique()
        assert len(brightest) == 1
        places.add(divmod(brightest.item(), 64))
    assert {max(abs(y - 30), abs(x - 40)) for y, x in places} == {0, 1, 2, 3, 4}


def test_augmentation_is_the_generators_alone_and_passes_every_gradient_on():
    x = normal(4, 3, 32, 32).requires_grad_()
    changed = augment(x, generator(1))
    assert torch.equal(changed, augment(x, generator(1)))
    assert not torch.equal(changed, augment(x, generator(2)))
    changed.square().sum().backward()
    assert x.grad[..., 4:-4, 4:-4].ne(0).all()
    direction = normal(4, 3, 32, 32, seed=1)
    assert_close(
        augment(x + direction, generator(1)) - changed, augment(direction, generator(1)) - augment(0 * x, generator(1))
    )


def test_processes_augment_their_parts_of_a_batch_as_one_does_the_whole(monkeypatch):
    x, parts = normal(6, 3, 32, 32), []
    whole = augment(x, generator())
    monkeypatch.setattr("vae.model.augmentation.world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr("vae.model.augmentation.local_part", lambda changes, rank=rank: changes.chunk(2)[rank])
        parts.append(augment(x.chunk(2)[rank], generator()))
    assert_close(torch.cat(parts), whole)


# Cycle


@pytest.mark.parametrize("inactive_below", [0.0, 1.0])
def test_the_cycle_error_is_that_of_the_codes_of_decoded_pictures_and_teaches_the_decoder_alone(inactive_below):
    vae = VAE(32, 1, latent_dim=6, width=8, whiten=False, pca_share=0.05, inactive_below=inactive_below)
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


@pytest.mark.parametrize("options", [{"whiten": True}, {"whiten": False, "pca_share": 0.05}], ids=["whitened", "PCA"])
def test_the_flow_is_fitted_to_codes_before_whitening(options, monkeypatch):
    module = VAETraining(image_size=32, channels=1, latent_dim=6, width=8, **options)
    if module.vae.pca_latents is not None:
        module.vae.pca_latents.mask[:2] = 1
    x = LINES[:40]
    fitted: list[torch.Tensor] = []
    monkeypatch.setattr(VAETraining, "_fitted_batches", lambda self: iter([x]))
    monkeypatch.setattr(PriorFlow, "fit", lambda self, codes, *_: fitted.append(codes[0][0]))
    monkeypatch.setattr(VAETraining, "global_step", 10)
    monkeypatch.setattr(VAETraining, "trainer", SimpleNamespace(progress_bar_callback=None))
    module._fit_latents(True)
    with torch.no_grad():
        codes = fitted[0] if module.vae.whitening is None else module.vae.whitening.whitened(fitted[0])
        assert_close(module.vae.zero_inactive(codes), module.vae.encode(x)[0])
