"""Whitened latents: codes get the prior's moments, and pictures stay what they were."""

import torch
from torch.testing import assert_close

from vae.model.elbo import kl_divergence
from vae.model.latents.whitening import Whitening
from vae.model.vae import VAE


def posteriors(count=500, dims=5):
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(dims, dims, generator=generator)
    mu = torch.randn(count, dims, generator=generator) @ mix + 3
    return mu, torch.randn(count, dims, generator=generator) - 2


def test_codes_get_the_moments_of_the_prior():
    mu, logvar = posteriors()
    whitening = Whitening(5)
    assert_close(whitening(mu, logvar), (mu, logvar))  # the identity before
    whitening.fit([(mu[:200], logvar[:200]), (mu[200:], logvar[200:])])
    new, _ = whitening(mu, logvar)
    noise = whitening.weight @ logvar.exp().mean(0).diag() @ whitening.weight.T
    assert_close(new.mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    assert_close(torch.cov(new.T, correction=0) + noise, torch.eye(5), atol=1e-4, rtol=0)
    assert_close(whitening.undo(new), mu, atol=1e-3, rtol=0)
    # on average the posterior stays diagonal, so nothing is lost; what says most comes first
    assert_close(noise - noise.diagonal().diag(), torch.zeros(5, 5), atol=1e-5, rtol=0)
    assert noise.diagonal().tolist() == sorted(noise.diagonal().tolist())


def test_the_diagonal_of_a_rotated_posterior_is_exact():
    mu, logvar = posteriors()
    whitening = Whitening(5)
    whitening.fit([(mu, logvar)])
    full = whitening.weight @ logvar[0].exp().diag() @ whitening.weight.T
    assert_close(whitening(mu, logvar)[1][0].exp(), full.diagonal())


def test_what_says_most_comes_first_and_directions_without_codes_say_nothing():
    mu, _ = posteriors()
    mu[:, 2:] = 0
    turned = mu @ torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1)))[0]
    whitening = Whitening(5)
    whitening.fit([(turned, torch.zeros(500, 5))])
    kl = kl_divergence(*whitening(turned, torch.zeros(500, 5))).mean(0)
    assert kl[0] > kl[1] > 0.1
    assert_close(kl[2:], torch.zeros(3), atol=1e-4, rtol=0)


def test_pictures_are_decoded_as_before():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = VAE(32, 1, latent_dim=6, width=8).eval()
    x = 2 * torch.rand(40, 1, 32, 32, generator=torch.Generator().manual_seed(1)) - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(x)[0])
        vae.whitening.fit([vae.encoder(x)])
        assert_close(vae.decode(vae.encode(x)[0]), before, atol=1e-4, rtol=0)
