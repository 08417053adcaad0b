"""Laws of films that follow a speed: keyframes are shown where it is low, and between them films move as it does."""

from itertools import combinations

import pytest
import torch
from torch.testing import assert_close

from vae.latent.rhythm import times_by_speed


def random_speed(frames: int, seed: int = 0) -> torch.Tensor:
    """Some of them 0."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(frames, generator=generator) * (torch.rand(frames, generator=generator) < 0.7)


def unwrapped(t: torch.Tensor, segments: int) -> torch.Tensor:
    """Times that go on where a closed path begins anew."""
    return t + segments * (t.diff(prepend=t[:1]) < 0).cumsum(0)


@pytest.mark.parametrize(("closed", "rounds"), [(False, 1), (True, 1), (True, 3)])
@pytest.mark.parametrize("segments", [1, 2, 5, 12])
def test_each_keyframe_has_a_frame_and_time_goes_on(segments, closed, rounds):
    for seed in range(5):
        speed = random_speed(60, seed)
        t = times_by_speed(speed, speed[:segments] + 0.1, closed, rounds)
        assert len(t) == 60
        assert all((t == k).sum() >= rounds for k in range(segments + (not closed)))
        assert (t.diff() < 0).sum() <= (rounds if closed else 0)
        assert t[0] == 0
        assert closed or t[-1] == segments


@pytest.mark.parametrize("closed", [False, True])
def test_within_a_segment_the_film_moves_in_proportion_to_the_speed(closed):
    speed = random_speed(50)
    t = unwrapped(times_by_speed(speed, torch.ones(4) / 4, closed), 4)
    moves = torch.cat([speed[1:], speed[:1]]).double()
    places = [int((t == k).nonzero()[-1]) for k in range(4)]  # the last frames of the rests on keyframes
    for first, last in zip(places, [*places[1:], len(t) - (not closed)], strict=True):
        steps = torch.cat([t, t.new_full((1,), 4)]).diff()[first:last]
        assert_close(steps, moves[first:last] / moves[first:last].sum())


def test_keyframes_are_where_the_sum_over_them_is_least():
    """Against a search through all choices."""
    shares = torch.tensor([0.5, 0.2, 0.3]).double()
    for seed in range(10):
        speed = random_speed(12, seed).double()
        t = times_by_speed(speed, shares)
        passed = torch.cat([speed.new_zeros(1), speed[1:].cumsum(0)]) / speed[1:].sum()
        reached = torch.cat([speed.new_zeros(1), speed[1:]]) / speed[1:].mean()

        def cost(places: tuple[int, ...], passed=passed, reached=reached) -> float:
            off = passed[list(places)] - shares.cumsum(0)[:2]
            return float(reached[list(places)].sum() + (3 * off).square().sum())

        least = min(cost(places) for places in combinations(range(1, 11), 2))
        chosen = [cost((a, b)) for a in range(1, 11) for b in range(a + 1, 11) if t[a] == 1 and t[b] == 2]
        assert min(chosen) == pytest.approx(least)


def test_a_keyframe_is_shown_just_before_a_beat_and_all_through_silence():
    beats = torch.zeros(40)
    beats[[9, 10, 24, 25]] = 1
    t = times_by_speed(beats, torch.ones(2) / 2)
    assert (t[10:24] == 1).all()
    assert_close(t[[8, 9, 24, 25]], torch.tensor([0, 0.5, 1.5, 2.0]).double())


def test_an_even_speed_and_none_make_an_even_film():
    for speed in (torch.ones(9), torch.zeros(9)):
        assert_close(times_by_speed(speed, torch.ones(4) / 4), torch.linspace(0, 4, 9).double())


def test_fewer_frames_than_keyframes_are_refused():
    times_by_speed(torch.ones(4), torch.ones(3) / 3)
    times_by_speed(torch.ones(4), torch.ones(4) / 4, closed=True)
    with pytest.raises(ValueError, match="3 frames: too few to show 4 keyframes; give more --fps or fewer keyframes"):
        times_by_speed(torch.ones(3), torch.ones(3) / 3)
    with pytest.raises(ValueError, match="too few to show 4 keyframes"):
        times_by_speed(torch.ones(3), torch.ones(4) / 4, closed=True)
