"""The ELBO's terms against torch.distributions, and what training makes of them."""

import math
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch.distributions import Bernoulli, Laplace, Normal, kl_divergence
from torch.testing import assert_close

from data.system.errors import UserError
from vae.model import elbo
from vae.model.elbo import Elbo, anneal, bits_per_dim
from vae.model.likelihoods import LIKELIHOODS, LikelihoodName, build_likelihood
from vae.model.networks import squash

SCALED = {"gaussian": Normal, "laplace": Laplace}
FIXED = {**SCALED, "wavelet": Normal}  # one scale for all pixels, unless it is calibrated
every_fixed = pytest.mark.parametrize("name", FIXED)
every_scaled = pytest.mark.parametrize("name", SCALED)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def logits():
    return 2 * normal(5, 3, 8, 8)


@pytest.fixture
def x():
    return 2 * torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 1


def log_prob(name, logits, x, scale):
    return FIXED[name](squash(logits), scale).log_prob(x).flatten(1).sum(1)


@pytest.mark.parametrize("spread", [0.1, 1, 3])
def test_kl_divergence_is_that_of_torch(spread):
    mu, logvar = spread * normal(7, 4), spread * normal(7, 4, seed=1)
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0, 1))
    assert_close(elbo.kl_divergence(mu, logvar), expected, rtol=1e-4, atol=1e-6)


def test_kl_divergence_is_zero_at_the_prior_and_positive_elsewhere():
    assert (elbo.kl_divergence(torch.zeros(3, 2), torch.zeros(3, 2)) == 0).all()
    assert (elbo.kl_divergence(normal(50, 4), normal(50, 4, seed=1)) > 0).all()


@every_fixed
@pytest.mark.parametrize("sigma", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
def test_a_fixed_scale_gives_the_log_density_of_torch(name, sigma, training, logits, x):
    p = build_likelihood(name, sigma).train(training)
    assert_close(p.log_prob(logits, x), log_prob(name, logits, x, sigma), rtol=1e-4, atol=1e-2)
    assert_close(p.scale, torch.tensor(sigma))


@pytest.mark.parametrize("black_and_white", [False, True])
def test_bernoulli_gives_the_log_probability_of_torch(black_and_white, logits, x):
    x = x.sign() if black_and_white else x
    expected = Bernoulli(logits=logits, validate_args=False).log_prob((x + 1) / 2).flatten(1).sum(1)
    assert_close(build_likelihood("bernoulli").log_prob(logits, x), expected)


@every_scaled
def test_a_calibrated_scale_in_eval_mode_is_the_running_one_and_stays(name, logits, x):
    p = build_likelihood(name)
    for _ in range(3):
        p.log_prob(logits, x)
    running = p.scale.clone()
    assert 0 < running < 1
    p.eval()
    assert_close(p.log_prob(logits, x), log_prob(name, logits, x, running), rtol=1e-4, atol=1e-2)
    assert torch.equal(p.scale, running)


@every_scaled
def test_no_other_scale_is_likelier_for_the_batch_than_the_calibrated_one(name, logits, x):
    best = build_likelihood(name).log_prob(logits, x).sum()
    scales = torch.logspace(-1, 1, 401)
    others = torch.stack([log_prob(name, logits, x, scale).sum() for scale in scales])
    assert_close(best, others.max(), rtol=1e-4, atol=0)
    assert best >= others.max() - 1e-5 * best.abs()
    assert others.argmax() not in (0, 400)


@every_fixed
def test_the_running_scale_settles_where_no_scale_is_likelier(name, logits, x):
    p = build_likelihood(name)
    for _ in range(600):
        calibrated = p.log_prob(logits, x)
    assert_close(p.eval().log_prob(logits, x), calibrated, rtol=1e-4, atol=1e-2)


@every_scaled
def test_the_scale_is_calibrated_with_a_gradient_that_vanishes_at_the_best_one(name, logits, x):
    logits.requires_grad_()
    build_likelihood(name).log_prob(logits, x).sum().backward()
    with_scale, logits.grad = logits.grad, None
    batch = {"gaussian": lambda e: e.square().mean().sqrt(), "laplace": lambda e: e.abs().mean()}
    scale = batch[name]((x - squash(logits)).detach())
    log_prob(name, logits, x, scale).sum().backward()
    assert_close(with_scale, logits.grad, rtol=1e-3, atol=1e-4)


@every_fixed
def test_a_calibrated_scale_does_not_fall_below_what_8_bits_say(name, logits):
    p, floor = build_likelihood(name), (2 / 255) / 12**0.5
    for _ in range(1000):
        p.log_prob(logits, squash(logits))
    assert_close(p.scale, torch.tensor(floor), rtol=1e-3, atol=0)
    assert_close(p.log_prob(logits, squash(logits)), log_prob(name, logits, squash(logits), floor))


@every_fixed
@pytest.mark.parametrize("sigma", [0, -0.1])
def test_a_scale_that_is_not_positive_is_refused(name, sigma):
    with pytest.raises(UserError, match="sigma"):
        build_likelihood(name, sigma)


def test_two_scales_are_likelier_than_one_where_details_and_means_err_unevenly(x):
    coarse = normal(5, 3, 4, 4, seed=2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    logits = torch.atanh(x * 0.9) * 2 + 0.3 * coarse + 0.01 * normal(5, 3, 8, 8, seed=3)
    one, two = (
        build_likelihood(name).log_prob(logits, squash(2 * torch.atanh(x * 0.9))) for name in ("gaussian", "wavelet")
    )
    assert two.sum() > one.sum() + 10


def test_the_wavelets_overall_scale_is_the_root_mean_squared_error(logits, x):
    p = build_likelihood("wavelet")
    for _ in range(600):
        p.log_prob(logits, x)
    assert_close(p.scale, (x - squash(logits)).square().mean().sqrt(), rtol=1e-3, atol=0)


def test_an_unknown_likelihood_is_refused():
    assert set(LIKELIHOODS) == set(get_args(LikelihoodName)) == {*FIXED, "bernoulli"}
    with pytest.raises(UserError, match="poisson"):
        build_likelihood("poisson")


@pytest.fixture
def terms():
    return Elbo(normal(6), normal(6, 4, seed=1).square())


def test_value_is_the_reconstruction_less_every_dimensions_kl(terms):
    expected = [terms.reconstruction[n] - sum(terms.kl[n, d] for d in range(4)) for n in range(6)]
    assert_close(terms.value, torch.stack(expected))


ANNEALED = [(0, 1), (0, 4), (100, 1), (1e-3, 2), (1, 1), (5, 0)]


@pytest.mark.parametrize(("start", "end"), ANNEALED)
def test_annealing_begins_at_its_start_and_stays_at_its_end(start, end):
    assert [anneal(start, end, p) for p in (-1, 0)] == pytest.approx([start, start])
    assert [anneal(start, end, p) for p in (1, 1.5, 100)] == pytest.approx([end] * 3)


@pytest.mark.parametrize(("start", "end"), ANNEALED)
def test_annealing_never_turns_back(start, end):
    way = [anneal(start, end, p / 50) * (1 if end >= start else -1) for p in range(51)]
    assert all(later > earlier or start == end for earlier, later in pairwise(way))


@pytest.mark.parametrize("progress", [0.1, 0.5, 0.9])
def test_annealing_is_linear_from_zero_and_else_geometric(progress):
    assert anneal(0, 3, progress) == pytest.approx(3 * progress)
    assert math.log10(anneal(100, 0.01, progress)) == pytest.approx(2 - 4 * progress)


def test_a_uniform_density_costs_the_logarithm_of_its_levels():
    dims = 3 * 16 * 16
    bits = bits_per_dim(torch.full((4,), -dims * math.log(2)), dims)
    assert_close(bits, torch.full((4,), math.log2(255)))


@pytest.mark.parametrize("sigma", [0.01, 0.5])
def test_bits_per_dim_are_those_of_the_same_density_over_levels(sigma, x):
    mean, dims = torch.zeros_like(x), x[0].numel()
    nats = Normal(mean, sigma).log_prob(x).flatten(1).sum(1)
    over_levels = Normal(127.5 * (mean + 1), 127.5 * sigma).log_prob(127.5 * (x + 1)).flatten(1).sum(1)
    assert_close(bits_per_dim(nats, dims), -over_levels / math.log(2) / dims)
