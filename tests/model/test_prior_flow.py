"""The flow of the prior: noise goes where codes are."""

import pytest
import torch
from torch.testing import assert_close

from vae.generator import prior_latents
from vae.model.latents.prior_flow import NO_CLASS, OF_WHITENED_CODES, PriorFlow
from vae.model.vae import VAE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(count: int = 1500) -> tuple[torch.Tensor, torch.Tensor]:
    """Posteriors whose codes have mean 0 and covariance I over all: two clusters at ±0.95 of the first latent."""
    side = torch.where(torch.arange(count) % 3 == 0, 2.0, -1.0) / 2**0.5  # a third right, two thirds left
    mu = torch.randn(count, 4, generator=generator())
    mu[:, 0] = side + 0.1 * mu[:, 0]
    return mu, torch.full_like(mu, -6.0)


@pytest.fixture(scope="module")
def fitted() -> PriorFlow:
    flow = PriorFlow(4)
    flow.fit([tuple(part[:700] for part in clusters()), tuple(part[700:] for part in clusters())], 500, generator())
    return flow


def test_it_is_the_identity_until_it_is_fitted():
    noise = torch.randn(9, 4, generator=generator())
    assert torch.equal(PriorFlow(4)(noise), noise)


def test_noise_goes_to_the_clusters_in_their_shares(fitted):
    noise = torch.randn(600, 4, generator=generator(1))
    first, others = fitted(noise)[:, 0], fitted(noise)[:, 1:]
    off = (first - 2**0.5).abs().minimum((first + 0.5**0.5).abs())
    assert (off < 0.4).float().mean() > 0.9, "in a cluster"
    assert (noise[:, 0] - 2**0.5).abs().minimum((noise[:, 0] + 0.5**0.5).abs()).lt(0.4).float().mean() < 0.5
    assert (first > 0.5).float().mean() == pytest.approx(1 / 3, abs=0.07)
    assert_close(others.mean(0), torch.zeros(3), atol=0.2, rtol=0)
    assert_close(others.std(0), torch.ones(3), atol=0.2, rtol=0)


@pytest.fixture(scope="module")
def conditional() -> PriorFlow:
    """One that knows the two clusters as classes, and a few codes of neither."""
    flow = PriorFlow(4, classes=2)
    sides = (clusters()[0][:, 0] > 0.5).long()
    sides[:30] = NO_CLASS
    flow.fit([clusters()], 500, generator(), classes=sides)
    return flow


def test_noise_goes_to_the_cluster_of_its_class(conditional):
    noise = torch.randn(600, 4, generator=generator(1))
    for number, sign in enumerate((-1, 1)):
        first = conditional(noise, torch.full((600,), number))[:, 0]
        assert (sign * first > 0).float().mean() > 0.95
        assert (first[:300] * first[300:]).mean() > 0, "and not to their middle"
    mixed = torch.arange(600) % 2
    assert_close(conditional(noise, mixed)[1::2], conditional(noise[1::2], mixed[1::2]), atol=1e-4, rtol=0)


def test_without_a_class_noise_goes_to_all_clusters_in_their_shares(conditional):
    noise = torch.randn(600, 4, generator=generator(1))
    assert (conditional(noise)[:, 0] > 0.5).float().mean() == pytest.approx(1 / 3, abs=0.08)
    assert_close(conditional(noise, torch.full((600,), NO_CLASS)), conditional(noise), atol=1e-5, rtol=0)


def test_without_classes_there_is_nothing_more():
    more = PriorFlow(4, classes=2).state_dict().keys() - PriorFlow(4).state_dict().keys()
    assert more == {"class_vectors"}


def test_near_noise_goes_to_near_codes(fitted):
    noise = torch.randn(50, 4, generator=generator(2))
    moved = fitted(noise + 1e-4) - fitted(noise)
    assert moved.norm(dim=1).max() < 0.02


def test_the_same_generator_fits_the_same(fitted):
    flows = []
    for _ in range(2):
        flow = PriorFlow(4)
        flow.load_state_dict(PriorFlow(4).state_dict() | {"enter.weight": torch.ones_like(flow.enter.weight) / 9})
        for block, other in zip(flow.blocks, fitted.blocks, strict=True):
            block.load_state_dict(other.state_dict())
        flow.enter.bias.zero_()
        flow.fit([clusters(60)], 5, generator(3))
        flows.append(flow.state_dict())
    assert all(torch.equal(flows[0][name], flows[1][name]) for name in flows[0])
    assert not any(weight.requires_grad or weight.grad is not None for weight in fitted.parameters())


@pytest.mark.parametrize("count", [1, 2, 9, 10])
def test_few_codes_will_do(count):
    flow = PriorFlow(4)
    flow.fit([tuple(part[:count] for part in clusters(30))], 3, generator())
    assert flow(torch.randn(2, 4, generator=generator())).isfinite().all()


def test_few_codes_get_few_steps():
    counted: list[int] = []
    PriorFlow(4).fit([clusters(30)], 500, generator(), lambda steps: counted.extend(steps) or steps)
    assert len(counted) == 30


@pytest.fixture
def vae() -> VAE:
    """One whose codes before whitening are clusters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = VAE(32, 1, latent_dim=4, width=8).eval()
    mu, logvar = clusters()
    stretched = 1 + mu @ torch.tensor([[2.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 1]])
    vae.whitening.fit([(stretched, logvar)])
    vae.flow.fit([(stretched, logvar)], 800, generator(), start=vae.whitening.undo)
    return vae


def test_random_latents_have_the_codes_moments_after_whitening(vae):
    z = vae.random_latents(torch.randn(2000, 4, generator=generator()))
    assert_close(z.mean(0), torch.zeros(4), atol=0.15, rtol=0)
    assert_close(torch.cov(z.T), torch.eye(4), atol=0.25, rtol=0)


def test_a_flow_that_has_learnt_nothing_leaves_noise_as_it_is(vae):
    noise = torch.randn(9, 4, generator=generator())
    vae.flow.load_state_dict(PriorFlow(4).state_dict() | {"fitted": vae.flow.fitted})
    assert_close(vae.random_latents(noise), noise, atol=1e-4, rtol=1e-4)


def test_a_flow_of_before_draws_whitened_codes_itself(vae):
    noise = torch.randn(9, 4, generator=generator())
    assert_close(vae.random_latents(noise), vae.whitening.whitened(vae.flow(vae.whitening.undo(noise))))
    vae.flow.fitted.fill_(OF_WHITENED_CODES)
    assert_close(vae.random_latents(noise), vae.flow(noise))


def test_seeds_are_carried_along_one_by_one(vae):
    z = prior_latents(vae, 5, 6)
    assert torch.equal(prior_latents(vae, 5, 3), z[:3]), "more of them do not change the first"
    assert_close(prior_latents(vae, 5, 6, 0.5), z / 2)
    noise = torch.randn(3, 4, generator=generator())
    assert_close(vae.sample(3, generator()), vae.decode(vae.random_latents(noise)))
