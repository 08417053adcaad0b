"""Every number about the latent space moves the right way on models that are good, folded, blurry and collapsed.

The pictures show a coloured bar whose place is uniform; the models are made by hand, so that what is wrong is known.
"""

import pytest
import torch
from torch.testing import assert_close

from vae.metrics.posterior import AggregatePosterior, picture_health, saturation
from vae.metrics.smoothness import smoothness
from vae.model.elbo import kl_divergence

PLACES = torch.linspace(0.001, 0.999, 400)
NORMAL = torch.distributions.Normal(0.0, 1.0)
COLOUR = torch.tensor([1.0, -0.2, -1.0])[:, None, None]


def bars(place, width=1.0):
    """Pictures (N, 3, 24, 24) of a bar at (N,) places in [0, 1]."""
    x = torch.arange(24) + 0.5
    inside = torch.sigmoid((3 - (x - (4 + 16 * place[:, None])).abs()) * 2 / width)[:, None, None, :]
    return (2 * inside - 1) * COLOUR.expand(3, 24, 24)


def found(x):
    """The places (N,) of the bars in pictures, whatever their width."""
    weight = (x[:, 0].mean(1) + 1).clamp_min(1e-6)
    return ((weight * (torch.arange(24) + 0.5)).sum(1) / weight.sum(1) - 4) / 16


class Good:
    """Places become normal latents, and back."""

    logvar, latent_dim, device = -6.0, 1, torch.device("cpu")

    def encode(self, x):
        mu = NORMAL.icdf(found(x).clamp(0.001, 0.999))[:, None] * (1 - torch.tensor(self.logvar).exp()).sqrt()
        return mu, torch.full_like(mu, self.logvar)

    def decode(self, z):
        return bars(NORMAL.cdf(z[:, 0]))


class Blurry(Good):
    """Like the good one, with soft edges."""

    def decode(self, z):
        return bars(NORMAL.cdf(z[:, 0]), width=5)


class Folded(Good):
    """Two islands in the wrong order, far out, and a hole between them in which pictures cross-fade."""

    def encode(self, x):
        place = found(x).clamp(0.001, 0.999)
        mu = torch.where(place < 0.5, 2 + 2 * place, 2 * place - 4)[:, None]
        return mu, torch.full_like(mu, self.logvar)

    def decode(self, z):
        z = z[:, 0]
        island = bars(torch.where(z > 0, (z - 2) / 2, (z + 4) / 2).clamp(0, 1))
        left, right = bars(torch.ones(1)), bars(torch.zeros(1))
        hole = torch.lerp(left, right, ((z + 2) / 4).clamp(0, 1)[:, None, None, None])
        return torch.where((z.abs() < 2)[:, None, None, None], hole, island)


class Collapsed(Good):
    """Says nothing, draws the mean."""

    def encode(self, x):
        return torch.zeros(len(x), 1), torch.zeros(len(x), 1)

    def decode(self, z):
        return bars(PLACES).mean(0).expand(len(z), -1, -1, -1)


def numbers(vae):
    pictures = bars(PLACES)
    posterior = AggregatePosterior(1)
    posterior.update(*vae.encode(pictures))
    latents = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    ends = torch.stack([PLACES[:150:3], PLACES[250::3]], 1)
    z = vae.encode(bars(ends.flatten()))[0].reshape(-1, 2, 1)
    walks = torch.lerp(z[:, :1], z[:, 1:], torch.linspace(0, 1, 16)[:, None])
    return {
        **posterior.compute()._asdict(),
        **picture_health(vae, pictures, latents)._asdict(),
        **smoothness(vae, walks, bars(ends.flatten()).reshape(-1, 2, 3, 24, 24))._asdict(),
    }


@pytest.fixture(scope="module")
def told():
    return {model.__name__: numbers(model()) for model in (Good, Blurry, Folded, Collapsed)}


def test_a_good_model_is_healthy(told):
    good = told["Good"]
    assert good["active_units"] == 1
    assert good["aggregate_mean"] < 0.05
    for near_one in ("aggregate_variance", "reconstruction_sharpness", "sample_sharpness", "sample_saturation"):
        assert good[near_one] == pytest.approx(1, abs=0.1), near_one
    assert good["cycle"] < 0.05
    assert good["off_manifold"] < 2
    assert good["sharp_mid"] > 0.9
    assert good["jump"] < 2.5


def test_a_folded_latent_space_shows(told):
    good, folded = told["Good"], told["Folded"]
    assert folded["aggregate_variance"] > 5
    assert folded["sample_sharpness"] < 0.9
    assert folded["cycle"] > 5 * good["cycle"] + 0.1
    assert folded["off_manifold"] > 5 * good["off_manifold"]
    assert folded["sharp_mid"] < 0.8
    assert folded["reconstruction_sharpness"] == pytest.approx(1, abs=0.1)  # this one cannot tell


def test_a_blurry_decoder_shows_in_sharpness_alone(told):
    good, blurry = told["Good"], told["Blurry"]
    for number in ("reconstruction_sharpness", "sample_sharpness", "sharp_mid"):
        assert blurry[number] < 0.6 * good[number], number
    assert blurry["active_units"] == 1


def test_a_collapsed_posterior_shows(told):
    good, collapsed = told["Good"], told["Collapsed"]
    assert collapsed["active_units"] == 0
    assert collapsed["kl"].sum() == 0 < 1 < good["kl"].sum()
    assert collapsed["sample_saturation"] < 0.9 * good["sample_saturation"]
    assert collapsed["sample_sharpness"] < 0.1
    assert collapsed["sharp_mid"] < 0.1


def test_the_aggregate_posterior_is_the_same_in_one_batch_and_in_many():
    generator = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn(50, 3, generator=generator), torch.randn(50, 3, generator=generator) - 2
    mu[:, 1] = 0.01
    whole, parts = AggregatePosterior(3), AggregatePosterior(3)
    whole.update(mu, logvar)
    for part in zip(mu.split(7), logvar.split(7), strict=True):
        parts.update(*part)
    for a, b in zip(whole.compute(), parts.compute(), strict=True):
        assert_close(a, b)
    health = whole.compute()
    assert health.active_units == 2
    assert_close(health.kl, kl_divergence(mu, logvar).mean(0).sort(descending=True).values)
    used = mu[:, [0, 2]]
    assert_close(health.aggregate_mean, used.mean(0).norm() / 2**0.5)
    assert_close(health.aggregate_variance, (used.var(0, correction=0) + logvar[:, [0, 2]].exp().mean(0)).mean())


def test_saturation_is_the_distance_of_the_strongest_and_the_weakest_channel():
    x = torch.tensor([0.5, -0.25, 0.0])[None, :, None, None].expand(2, 3, 4, 4)
    assert_close(saturation(x), torch.full((2,), 0.75))
    assert saturation(torch.full((1, 1, 4, 4), 0.3)).item() == 0
