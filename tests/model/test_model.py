"""The VAE's shapes at every size, its noise, and its bounds."""

import inspect
import math
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.testing import assert_close

import vae as public
from data.system.errors import UserError
from vae import checkpoint
from vae.latent import paths
from vae.model.config import VAEConfig
from vae.model.elbo import kl_divergence
from vae.model.likelihoods import LIKELIHOODS
from vae.model.networks import BoxFilter
from vae.model.stages.layers import DoublingConv, Norm
from vae.model.vae import VAE
from vae.render import notebook
from vae.training.options import TrainingOptions

every_size = pytest.mark.parametrize(
    "size", [32, 48, 96, *(pytest.param(size, marks=pytest.mark.slow) for size in (176, 256))]
)
every_channel_count = pytest.mark.parametrize("channels", [1, 3])
every_network = pytest.mark.parametrize("network", ["strided", "residual"])


def build(size=32, channels=3, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(size, channels, latent_dim=4, width=8, **options).eval()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(vae, x, *samples, seed=0):
    return torch.randn(*samples, len(x), vae.latent_dim, generator=generator(seed))


def pictures(vae, count=2):
    shape = (count, vae.channels, vae.image_size, vae.image_size)
    return 2 * torch.rand(shape, generator=generator(7)) - 1


class Posterior(nn.Module):
    """One posterior for all pictures, far from the prior and from the truth, so that the bounds differ."""

    def forward(self, x):
        return torch.full((len(x), 1), 0.9), torch.full((len(x), 1), 0.2)


class Picture(nn.Module):
    """Four pixels that depend on one latent."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def logits(self, z):
        return (z * self.slope * torch.tensor([1.0, -2.0, 0.5, 3.0])).reshape(-1, 1, 2, 2)


X = torch.tensor([0.3, -0.5, 0.0, 0.6]).reshape(1, 1, 2, 2)


def toy(slope):
    vae = VAE(32, 1, latent_dim=1, width=8, sigma=0.7).eval()
    vae.encoder, vae.decoder = Posterior(), Picture(slope)
    return vae


def log_evidence(vae):
    """log ∫ p(x|z) p(z) dz by quadrature."""
    z = torch.linspace(-12, 12, 20001, dtype=torch.float64)[:, None]
    joint = vae.likelihood.log_prob(vae.decoder.logits(z), X.double()) + Normal(0, 1).log_prob(z[:, 0])
    return joint.logsumexp(0) + math.log(24 / 20000)


every_toy = pytest.mark.parametrize(
    "slope", [0.5, *(pytest.param(slope, marks=pytest.mark.slow) for slope in (0.0, 2.0))]
)


@every_size
@every_channel_count
@every_network
def test_encodes_and_decodes_pictures_of_its_size(size, channels, network):
    vae = build(size, channels, network=network)
    with torch.no_grad():
        mu, logvar = vae.encode(pictures(vae))
        x = vae.decode(10 * mu)
    assert mu.shape == logvar.shape == (2, 4)
    assert x.shape == (2, channels, size, size)
    assert x.abs().max() <= 1
    on_meta = vae.to("meta")
    z = torch.randn(2, 4, device="meta")
    assert [part.shape for part in on_meta.encode(on_meta.decode(z))] == [mu.shape, logvar.shape]
    assert vae.dims == x[0].numel()
    assert (vae.image_size, vae.channels, vae.latent_dim) == (size, channels, 4)


@every_network
@pytest.mark.parametrize("size", range(32, 257, 16))
def test_networks_of_every_size_have_its_shapes_and_few_numbers_in_their_smallest_map(size, network):
    with torch.device("meta"):
        vae = VAE(size, 3, latent_dim=4, width=8, network=network).to("meta")
        assert vae.decode(vae.encode(torch.empty(2, 3, size, size))[0]).shape == (2, 3, size, size)
    side = vae.decoder.unflatten.unflattened_size[1]
    assert side <= 8 or side % 2


@pytest.mark.parametrize("size", [32, 48, 64, 80])
@every_channel_count
@every_network
def test_every_weight_learns_something(size, channels, network):
    vae = build(size, channels, network=network)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.add_(0.01)  # residuals begin as the identity, which hides their first half
    x = pictures(vae)
    elbo, _, _ = vae(x, noise(vae, x))
    elbo.value.sum().backward()
    learning = [(name, weight) for name, weight in vae.named_parameters() if weight.requires_grad]
    idle = [name for name, weight in learning if weight.grad is None or not weight.grad.any()]
    assert not idle


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_lessons_lines_give_a_picture(likelihood):
    vae = build(64, likelihood=likelihood)
    z = torch.randn(vae.latent_dim).unsqueeze(0)
    img = vae.decoder(z)
    picture = ((img[0] + 1) / 2).clamp(0, 1)
    assert picture.shape == (3, 64, 64)
    assert torch.equal(picture, (img[0] + 1) / 2)
    assert torch.equal(img, vae.decode(z))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("image_size", size) for size in (-32, 0, 16, 31, 33, 40, 100, 272, 512)),
        *(("channels", channels) for channels in (-1, 0, 2, 4)),
        *(("latent_dim", dims) for dims in (-1, 0)),
        *(("width", width) for width in (-8, 0, 4, 12)),
        *(("sigma", sigma) for sigma in (-1.0, 0.0)),
        ("likelihood", "poisson"),
        ("network", "recurrent"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(option, value):
    with pytest.raises(UserError, match=option):
        VAE(**{"image_size": 32, "latent_dim": 4, "width": 8, option: value})


def test_reparameterized_samples_have_the_posteriors_mean_and_variance():
    mu, logvar = torch.tensor([0.0, 2.0, -3.0, 1.0]), torch.tensor([0.0, -4.0, 1.0, 2.0])
    count = 40000
    draws = torch.randn(count, 4, generator=generator())
    z = build().reparameterize(mu.expand(count, 4), logvar.expand(count, 4), draws)
    error = (0.5 * logvar).exp() / math.sqrt(count)
    assert ((z.mean(0) - mu).abs() < 4 * error).all()
    assert_close(z.var(0), logvar.exp(), rtol=4 * math.sqrt(2 / count), atol=0)
    assert (z.T.corrcoef() - torch.eye(4)).abs().max() < 4 / math.sqrt(count)


def test_gradients_pass_through_the_reparameterized_sample():
    mu = torch.randn(5, 4, generator=generator(), requires_grad=True)
    logvar = torch.randn(5, 4, generator=generator(1), requires_grad=True)
    z = build().reparameterize(mu, logvar, torch.randn(5, 4, generator=generator(2)))
    z.sum().backward()
    assert_close(mu.grad, torch.ones(5, 4))
    assert_close(logvar.grad, 0.5 * (z - mu).detach())


def test_samples_repeat_with_their_seed_and_leave_the_global_generator_alone():
    vae, before = build(), torch.get_rng_state()
    first, again, other = (vae.sample(3, generator(seed)) for seed in (5, 5, 6))
    assert first.shape == (3, 3, 32, 32)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("options", [{}, {"palette": 3}, {"likelihood": "bernoulli"}], ids=str)
def test_everything_computes_on_the_device_of_the_weights(options):
    vae = build(32, 3, **options).to("meta")
    x = vae.sample(3, generator())
    elbo, mu, _ = vae(x, torch.empty(3, 4, device="meta"))
    bound = vae.importance_bound(x, torch.empty(2, 3, 4, device="meta"))
    found = (x, elbo.reconstruction, elbo.kl, mu, bound, vae.cycle_error(mu, x))
    assert {each.device.type for each in found} == {"meta"}
    assert [tuple(each.shape) for each in found] == [(3, 3, 32, 32), (3,), (3, 4), (3, 4), (3,), ()]


def test_a_model_and_its_training_have_the_same_defaults():
    ours, theirs = inspect.signature(VAE).parameters, asdict(TrainingOptions())
    assert list(ours) == list(asdict(VAEConfig()))
    for name, value in asdict(VAEConfig()).items():
        assert ours[name].default == theirs[name] == value, name


def test_a_config_is_printed_as_the_call_that_builds_its_model():
    for options in (
        {},
        {"palette": 2, "sigma": 0.5, "likelihood": "laplace"},
        {"pca_share": 0.1, "whiten": False},
    ):
        config = build(48, 1, **options).config
        assert eval(str(config)).config == config


def test_public_names_are_the_modules_own_and_are_imported_when_they_are_used():
    modules = {VAE: "VAE", checkpoint.load_vae: "load_vae", notebook.morph: "morph"}
    for thing, name in (modules | {getattr(paths, name): name for name in ("linear", "slerp", "spline")}).items():
        assert getattr(public, name) is thing
        assert name in public.__all__
    with pytest.raises(AttributeError, match="elbow"):
        public.elbow  # noqa: B018
    code = "import sys, vae; assert vae.__version__; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@every_channel_count
def test_forward_gives_the_terms_of_one_posterior_sample(likelihood, channels):
    vae = build(32, channels, likelihood=likelihood)
    x = pictures(vae, 3)
    draws = noise(vae, x)
    elbo, mu, logvar = vae(x, draws)
    assert_close((mu, logvar), vae.encode(x))
    logits = vae.decoder.logits(vae.reparameterize(mu, logvar, draws))
    assert_close(elbo.reconstruction, vae.likelihood.log_prob(logits, x))
    assert_close(elbo.kl, kl_divergence(mu, logvar))
    assert elbo.value.shape == (3,)


@every_toy
def test_one_importance_sample_is_the_elbo_on_average(slope):
    vae, x = toy(slope), X.expand(8000, -1, -1, -1)
    difference = vae.importance_bound(x, noise(vae, x, 1, seed=1)) - vae(x, noise(vae, x))[0].value
    assert difference.std() > 0.1
    assert difference.mean().abs() < 4 * difference.std() / math.sqrt(len(x))


@every_toy
def test_bounds_tighten_with_their_samples_and_stay_below_the_evidence(slope):
    vae, x = toy(slope), X.expand(5000, -1, -1, -1)
    bounds = [vae(x, noise(vae, x))[0].value, *(vae.importance_bound(x, noise(vae, x, k)) for k in (2, 5, 50))]
    for looser, tighter in pairwise(bounds):
        error = ((looser.var() + tighter.var()) / len(x)).sqrt()
        assert tighter.mean() > looser.mean() + 4 * error
    assert bounds[-1].mean() < log_evidence(vae) + 4 * bounds[-1].std() / math.sqrt(len(x))


@every_toy
def test_the_importance_bound_reaches_the_evidence(slope):
    vae = toy(slope)
    x = X.expand(1000, -1, -1, -1)
    bound = vae.importance_bound(x, noise(vae, x, 500))
    assert_close(bound.mean().double(), log_evidence(vae), rtol=0, atol=0.01)


def test_the_elbo_misses_the_evidence_by_the_kl_where_pictures_do_not_depend_on_latents():
    vae = toy(0.0)
    elbo, mu, logvar = vae(X, noise(vae, X))
    gap = log_evidence(vae).float() - elbo.value
    assert_close(gap, kl_divergence(mu, logvar).sum(1), rtol=0, atol=1e-4)


def test_groups_are_normalized_exactly_whatever_the_precision_around():
    x = (20 + torch.randn(2, 16, 8, 8)).bfloat16()
    grouped = x.double().reshape(2, 8, -1)
    exact = ((grouped - grouped.mean(2, keepdim=True)) / grouped.std(2, correction=0, keepdim=True)).reshape(x.shape)
    with torch.autocast("cpu", torch.bfloat16):
        found = Norm(16)(x)
    assert found.dtype == torch.bfloat16
    assert_close(found.double(), exact, rtol=2**-8, atol=2**-7)


def test_no_checkerboard_passes_and_flat_pictures_do():
    board = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float().expand(1, 3, 8, 8)
    assert_close(BoxFilter()(board)[..., 1:, 1:], torch.full((1, 3, 7, 7), 0.5))
    flat = torch.full((1, 3, 8, 8), 0.3)
    assert_close(BoxFilter()(flat), flat)


def test_a_doubling_convolution_is_nearest_upsampling_and_a_convolution():
    layer, x = DoublingConv(3, 2), torch.randn(2, 3, 5, 4)
    usual = nn.functional.conv2d(
        nn.functional.interpolate(x, scale_factor=2), layer.weight.flip(2, 3).transpose(0, 1), layer.bias, padding=1
    )
    assert_close(layer(x), usual)
