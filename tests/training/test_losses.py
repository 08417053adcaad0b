"""The terms of the loss, each by the law that it obeys."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from vae.model.discriminator import Discriminator
from vae.model.elbo import Elbo
from vae.model.vae import VAE
from vae.training.losses.objective import Adversarial, sample_latents
from vae.training.losses.perceptual import Perceptual
from vae.training.losses.terms import KLDivergence, LossInputs, MomentMatching, Reconstruction


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def negative_elbo(elbo: Elbo, beta: float, free_bits: float) -> torch.Tensor:
    """The sum of the first two terms, in nats of a picture."""
    vae, none = VAE(32, 1, latent_dim=4, width=8), torch.zeros(0)
    batch = LossInputs(vae, none, none, none, elbo, none, none, none, beta, 0, 0, torch.Generator())
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


@pytest.mark.parametrize("codes", [1, 2, 3, 32])
def test_generated_latents_lie_between_codes_or_in_the_prior(codes):
    mu, vae = torch.nn.functional.normalize(normal(codes, 8)) * 100, VAE(32, 1, latent_dim=8, width=8)
    for count in {1, (codes + 1) // 2, codes}:
        z = sample_latents(vae, mu, count, torch.Generator().manual_seed(0))
        assert z.shape == (count, 8)
        between = min(count // 2, codes - 1)
        assert_close(z[:between].norm(dim=1), torch.full((between,), 100.0))
        assert (z[between:].norm(dim=1) < 10).all()


def adversarial_batch(size: int, likelihood: str = "gaussian", phase: float = 1.0, step: int = 1) -> LossInputs:
    """A batch of the decoder's phase, whose logits keep their gradients."""
    vae = VAE(32, 3, latent_dim=4, width=8, likelihood=likelihood)
    x = normal(size, 3, 32, 32).clamp(-1, 1)
    logits, generated = normal(size, 3, 32, 32, seed=1), normal((size + 1) // 2, 3, 32, 32, seed=2)
    for each in (logits, generated):
        each.requires_grad_()
    elbo = Elbo(vae.likelihood.log_prob(logits, x), torch.zeros(size, 4))
    return LossInputs(
        vae,
        x,
        x,
        x,
        elbo,
        logits,
        generated[:, :4, 0, 0],
        generated,
        4.0,
        step,
        phase,
        torch.Generator().manual_seed(3),
    )


def mean_norm(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.flatten(1).norm(dim=1).mean()


@pytest.mark.parametrize("likelihood", ["gaussian", "wavelet", "bernoulli"])
@pytest.mark.parametrize(("size", "phase", "ramp"), [(8, 1.0, 1.0), (5, 0.25, 1.0), (1, 0.125, 0.5), (8, 0.0, 0.0)])
def test_the_discriminator_draws_the_decoder_weight_times_as_strongly_as_the_likelihood(likelihood, size, phase, ramp):
    batch = adversarial_batch(size, likelihood, phase)
    usual = torch.autograd.grad(Reconstruction()(batch)[0], batch.logits, retain_graph=True)[0]
    value, logs = Adversarial(Discriminator(3), 0.7)(batch)
    seen = torch.autograd.grad(value, (batch.logits, batch.generated_logits))
    judged = torch.cat([seen[0][::2], seen[1]])
    assert_close(mean_norm(judged), ramp * 0.7 * mean_norm(usual))
    assert not seen[0][1::2].any(), "pictures of which reconstructions are not judged"
    assert logs.keys() == {"discriminator_loss", "adversarial_loss"}


def test_the_discriminator_learns_from_its_own_loss_alone():
    gradients = []
    for weight in (0.0, 1e6):
        torch.manual_seed(0)
        term = Adversarial(Discriminator(3), weight)
        term(adversarial_batch(8, step=0))[0].backward()
        gradients.append([each.grad for each in term.discriminator.parameters()])
    assert_close(gradients[0], gradients[1])
    assert all(each.any() for each in gradients[0])


def test_processes_judge_in_their_parts_what_one_judges_in_the_whole(monkeypatch):
    batch, seen, judged = adversarial_batch(8), [], []
    monkeypatch.setattr("vae.training.losses.objective.augment", lambda x, generator: seen.append(x.detach()) or x)
    term = Adversarial(Discriminator(3), 0.5)
    names = ("x", "logits", "generated_logits")
    for parts in (1, 2):
        for part in range(parts):
            halves = {name: getattr(batch, name).chunk(parts)[part] for name in names}
            elbo = Elbo(batch.vae.likelihood.log_prob(halves["logits"], halves["x"]), batch.elbo.kl)
            term(replace(batch, elbo=elbo, **halves))
        judged.append([torch.cat(seen[kind::3]) for kind in range(3)])
        seen.clear()
    assert_close(judged[0], judged[1])


def perceptual_inputs(x: torch.Tensor, logits: torch.Tensor) -> LossInputs:
    vae, none = VAE(x.shape[-1], x.shape[1], latent_dim=4, width=8), torch.zeros(0)
    elbo = Elbo(vae.likelihood.log_prob(logits, x), none)
    return LossInputs(vae, x, none, none, elbo, logits, none, none, none, 0, 0, torch.Generator())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [32, 64])
def test_the_perceptual_term_draws_reconstructions_to_what_the_network_sees(side, channels):
    x = torch.nn.functional.interpolate(normal(4, channels, 8, 8).tanh(), (side, side), mode="bicubic").clamp(
        -0.99, 0.99
    )
    logits, term = torch.zeros_like(x).requires_grad_(), Perceptual(0.5)
    optimizer, seen = torch.optim.Adam([logits], 0.05), []
    for _ in range(15):
        value, logged = term(perceptual_inputs(x, logits * 1))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        seen.append(float(logged["perceptual_distance"]))
    assert seen[-1] < 0.7 * seen[0]
    _, same = term(perceptual_inputs(x, 2 * x.atanh().requires_grad_()))
    assert same["perceptual_distance"] < 1e-4 * seen[0]
    assert not term.state_dict()


def test_the_perceptual_term_draws_as_strongly_as_it_is_told_beside_the_likelihood():
    x, logits = normal(4, 3, 64, 64).tanh(), normal(4, 3, 64, 64, seed=1).requires_grad_()
    batch = perceptual_inputs(x, logits)
    value, _ = Perceptual(0.25)(batch)
    (drawn,) = torch.autograd.grad(value, logits, retain_graph=True)
    (usual,) = torch.autograd.grad(-batch.elbo.reconstruction.mean() / batch.vae.dims, logits)
    norms = [gradient.flatten(1).norm(dim=1).mean() for gradient in (drawn, usual)]
    assert_close(norms[0], 0.25 * norms[1])
