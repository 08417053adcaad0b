"""The terms of the loss, each by the law that it obeys."""

import math

import pytest
import torch
from torch.testing import assert_close

from vae.model.elbo import Elbo
from vae.model.vae import VAE
from vae.training.losses import KLDivergence, LossInputs, MomentMatching, Reconstruction, sample_latents


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def negative_elbo(elbo: Elbo, beta: float, free_bits: float) -> torch.Tensor:
    """The sum of the first two terms, in nats of a picture."""
    vae, none = VAE(32, 1, latent_dim=4, width=8), torch.zeros(0)
    batch = LossInputs(vae, none, none, none, elbo, none, none, beta, 0)
    return vae.dims * (Reconstruction()(batch)[0] + KLDivergence(free_bits)(batch)[0])


def test_the_first_two_terms_are_the_negative_elbo_in_which_beta_weighs_the_kl_alone():
    elbo = Elbo(normal(6), normal(6, 4, seed=1).square())
    assert_close(negative_elbo(elbo, 1, 0), -elbo.value.mean())
    for beta in (0, 0.5, 4):
        assert_close(negative_elbo(elbo, beta, 0), beta * elbo.kl.sum(1).mean() - elbo.reconstruction.mean())


def test_free_bits_are_what_a_dimension_costs_at_least():
    kl = torch.tensor([[0.0, 0.4, 3.0], [0.2, 0.8, 1.0]], requires_grad=True)
    loss = negative_elbo(Elbo(torch.tensor([1.0, 3.0]), kl), beta=2, free_bits=0.5)
    assert_close(loss, torch.tensor(2 * (0.5 + 0.6 + 2.0) - 2))
    loss.backward()
    assert_close(kl.grad, torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))


def test_moments_of_the_prior_are_left_alone():
    moments = MomentMatching(3, 1.0)
    mu = math.sqrt(2) * torch.cat([torch.eye(3), -torch.eye(3)]) * math.sqrt(1.5 / 2)  # E[mu muᵀ] = I/2
    logvar = torch.full((6, 3), math.log(0.5))
    mu.requires_grad_()
    moments.surrogate(mu, logvar).backward()
    assert mu.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("scale", "offset"),
    [(0.3, 2.0), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((3.0, 0.0), (3.0, 2.0)))],
)
def test_following_the_gradient_of_the_moments_leads_to_the_prior(scale, offset):
    mix = torch.tensor([[1.0, 0.8, 0], [0, 1, 0], [0, 0, 1]])
    mu = (scale * normal(64, 3) @ mix + offset).requires_grad_()
    logvar = torch.full((64, 3), -6.0)
    moments, optimizer = MomentMatching(3, 1.0), torch.optim.SGD([mu], 0.1)
    for _ in range(1500):
        optimizer.zero_grad()
        moments.surrogate(mu, logvar).backward()
        optimizer.step()
    assert_close((mu.T @ mu / 64).detach(), torch.eye(3), atol=0.05, rtol=0)
    assert mu.mean(0).abs().max() < 0.05


@pytest.mark.parametrize("count", [1, 2, 3, 32])
def test_generated_latents_are_as_many_as_codes_and_lie_between_them_or_in_the_prior(count):
    mu = torch.nn.functional.normalize(normal(count, 8)) * 100
    z = sample_latents(mu, torch.Generator().manual_seed(0))
    assert z.shape == mu.shape
    between = (count - 1) // 2
    assert_close(z[:between].norm(dim=1), torch.full((between,), 100.0))
    assert (z[between:].norm(dim=1) < 10).all()
