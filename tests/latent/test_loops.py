"""Loops of few keyframes or none: constant length, equal speed, no seam."""

import pytest
import torch
from test_paths import angle_between, normal, times
from torch.testing import assert_close

from data.system.errors import UserError
from vae.latent.paths import great_circle, noise_loop


def round_trip(count, steps=400):
    return torch.linspace(0, count, steps + 1, dtype=torch.float64)


@pytest.mark.parametrize("dims", [2, 3, 16])
def test_a_circle_has_one_length_and_one_speed(dims):
    z = great_circle(normal(2, dims), round_trip(4))
    assert_close(z.norm(dim=1), z[0].norm().expand(401))
    steps = angle_between(z[1:], z[:-1])
    assert_close(steps, steps.mean().expand(400), rtol=1e-6, atol=0)
    assert_close(z[-1], z[0])


def test_a_circle_goes_through_both_keyframes_at_the_mean_of_their_lengths():
    for seed in range(5):
        keyframes = normal(2, 8, seed=seed)
        length = keyframes.norm(dim=1).mean()
        z = great_circle(keyframes, round_trip(4, 4000))
        for keyframe in keyframes:
            assert (z - length * keyframe / keyframe.norm()).norm(dim=1).min() < 0.01
        assert_close(z[0], length * keyframes[0] / keyframes[0].norm())


@pytest.mark.parametrize(
    "keyframes", [torch.ones(1, 4), torch.eye(4)[:3], torch.ones(2, 4), torch.tensor([[1.0, 2.0], [-2.0, -4.0]])]
)
def test_a_circle_wants_two_directions(keyframes):
    with pytest.raises(UserError):
        great_circle(keyframes, times(0))


@pytest.mark.parametrize("count", [4, 6, 12])
def test_a_random_walk_has_one_length_and_closes_without_a_kink(count):
    latents = normal(count, 16)
    z = noise_loop(latents, round_trip(count, 4000))
    assert_close(z.norm(dim=1), latents.norm(dim=1).mean().expand(4001))
    assert_close(z[-1], z[0])
    velocity = z.diff(dim=0)
    assert (velocity[0] - velocity[-1]).norm() < 0.02 * velocity.norm(dim=1).mean()
    assert velocity.norm(dim=1).min() > 0


def test_a_random_walk_keeps_to_the_dimensions_of_its_latents():
    latents = normal(4, 6)
    latents[:, 2] = 0
    assert noise_loop(latents, round_trip(4))[:, 2].abs().max() == 0


@pytest.mark.parametrize("count", [0, 2, 5])
def test_a_random_walk_wants_an_even_number_of_latents(count):
    with pytest.raises(UserError, match=f"{count} latents"):
        noise_loop(normal(count, 4), times(0))
