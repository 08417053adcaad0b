"""Routes: they keep what a spline keeps, go round what is torn, and are not taken where nothing is."""

import pytest
import torch
from test_paths import derivatives
from torch.testing import assert_close

from data.synthetic.patterns import patterns
from data.transforms import to_tensor
from vae.inference import decode_batches
from vae.latent.paths import spline
from vae.latent.route import Route, find_route
from vae.metrics.perceptual import pyramid, visible_change
from vae.metrics.smoothness import smoothness
from vae.model.vae import VAE

HOLE = torch.tensor([0.0, 0.0, 1.0])
SHARP = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Torn:
    """Three latents that mix sharp pictures; near one point pictures lose contrast and are misread."""

    device = torch.device("cpu")

    def __init__(self, reach: float) -> None:
        self.reach = reach

    def torn(self, z):
        return self.reach * torch.exp(-((z - HOLE).square().sum(1, keepdim=True)) / 0.3)

    def zero_inactive(self, z):
        return z

    def decode(self, z):
        x = torch.einsum("nk,kchw->nchw", z[:, :2], SHARP) + z[:, 2, None, None, None] * SHARP[0].flip(1)
        self._seen = z
        return x * (1 - self.torn(z))[:, :, None, None]

    def encode(self, x):
        return self._seen * (1 + self.torn(self._seen)), None


KEYFRAMES = torch.tensor([[0.9, 0.05, 0.4], [-0.9, 0.05, 0.4]])


def test_a_route_goes_round_a_hole_and_keeps_its_keyframes():
    vae = Torn(0.9)
    route = find_route(vae, KEYFRAMES)
    assert_close(route(torch.tensor([0.0, 1.0])), KEYFRAMES, rtol=0, atol=1e-6)
    t = torch.linspace(0, 1, 41, dtype=torch.float64)
    nearest = [(path(t) - HOLE).norm(dim=1).min() for path in (route, lambda t: spline(KEYFRAMES, t))]
    assert nearest[0] > nearest[1] + 0.1
    assert vae.torn(route(t)).mean() < 0.6 * vae.torn(spline(KEYFRAMES, t)).mean()


@pytest.mark.parametrize("closed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["open", "closed"])
def test_where_nothing_is_torn_the_spline_is_taken(closed):
    route = find_route(Torn(0.0), KEYFRAMES, closed)
    t = torch.linspace(0, 1 + closed, 21, dtype=torch.float64)
    assert_close(route(t), spline(KEYFRAMES, t, closed))
    assert not route.coefficients.any()


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_the_offset_leaves_keyframes_velocities_and_accelerations_as_they_are(closed):
    generator = torch.Generator().manual_seed(1)
    keyframes = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    coefficients = torch.randn(3 + closed, 3, 6, generator=generator, dtype=torch.float64)
    route = Route(keyframes, closed, coefficients)
    assert_close(route(torch.arange(4)), keyframes, rtol=0, atol=1e-12)
    for k in range(0 if closed else 1, 4 if closed else 3):
        before = derivatives(lambda _, t, __: route(t), keyframes, 4 if closed and k == 0 else k, closed, -1)
        after = derivatives(lambda _, t, __: route(t), keyframes, k, closed, 1)
        for a, b in zip(before, after, strict=True):
            assert (a - b).norm() < 5e-2 * b.norm()
    middle = torch.arange(len(coefficients)) + 0.25
    assert (route(middle) - spline(keyframes, middle, closed)).norm(dim=1).min() > 0.1


def test_visible_change_sees_shape_and_colour_before_texture():
    flat, noise = torch.zeros(1, 3, 32, 32), SHARP[:1] * 0.3
    darker = torch.full_like(flat, -noise.square().mean().sqrt().item())
    colour, texture = (pyramid(torch.cat([flat, x])).diff(dim=0).norm() for x in (darker, noise))
    assert colour > 3 * texture
    assert pyramid(noise)[0].equal(pyramid(noise.repeat(3, 1, 1, 1))[1])


def test_changes_are_distances_of_neighbours():
    vae = Torn(0.0)
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    seen = pyramid(vae.decode(z))
    assert_close(visible_change(decode_batches(vae, z)), (seen[1:] - seen[:-1]).norm(dim=1))


@pytest.mark.slow
def test_a_route_of_a_real_model_is_never_worse_where_it_was_taken():
    torch.manual_seed(0)
    vae = VAE(32, 3, latent_dim=4, width=8).eval().requires_grad_(False)
    pictures = to_tensor(patterns(0, torch.arange(3), 32))
    keyframes = vae.encode(pictures)[0]
    route = find_route(vae, keyframes, closed=False)
    assert route.coefficients.isfinite().all()
    t = torch.linspace(0, 2, 31, dtype=torch.float64)
    ends = torch.stack([pictures[:-1], pictures[1:]], 1)
    for segment in range(2):
        if route.coefficients[segment].any():
            part = slice(15 * segment, 15 * segment + 16)
            walks = [path(t)[part][None] for path in (route, lambda t: spline(keyframes, t))]
            bent, straight = (smoothness(vae, walk, ends[segment : segment + 1]) for walk in walks)
            assert bent.cycle < straight.cycle * 1.05
