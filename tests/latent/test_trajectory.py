"""Laws of trajectories: every path, at every pace, with every easing."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from vae.inference import decode_batches
from vae.latent.paths import PATHS, QUARTERS, great_circle, noise_loop
from vae.latent.timing import EASINGS, apportion, arc_length_per_segment, times_for_steps
from vae.latent.trajectory import (
    PATH_NAMES,
    Trajectory,
    path_trajectory,
    visible_change_per_stretch,
)
from vae.metrics.perceptual import visible_change
from vae.render.clips import Clip
from vae.render.frames import FrameMeter, render_frames
from vae.render.options import MotionOptions
from vae.render.pacing import frame_times
from vae.render.report import measure_path, measure_seam

SIDE = 16
BASIS = torch.linalg.qr(torch.randn(3 * SIDE**2, 5, generator=torch.Generator().manual_seed(0)))[0]


class Linear:
    """Pictures that are sums of five others; the encoder undoes it."""

    latent_dim, device = 5, torch.device("cpu")

    def decode(self, z):
        return (z.float() @ (20 * BASIS.T)).reshape(-1, 3, SIDE, SIDE)

    def encode(self, x):
        return x.flatten(1) @ BASIS / 20, None

    def zero_inactive(self, z):
        return z

    def requires_grad_(self, flag):
        return self


def keyframes_of(seed, count):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


def times_of(walk, frames, easing, pace, hold=0):
    motion = MotionOptions(frames=frames, easing=EASINGS[easing], pace=pace, hold=hold)
    return frame_times([Clip("", Linear(), walk)], motion)[0][0]


def report(walk):
    return measure_path(clip := Clip("", Linear(), walk), visible_change_per_stretch(clip.draw, walk.segments))


def seam(walk, t):
    meter = FrameMeter()
    list(render_frames(decode_batches(Linear(), walk.at(t.unique_consecutive())), meter))
    return measure_seam(meter)


walks = st.builds(
    lambda path, seed, count, closed: (
        path_trajectory(path, Linear(), keyframes_of(seed, count), closed),
        keyframes_of(seed, count),
    ),
    st.sampled_from(list(PATHS)),
    st.integers(0, 10**6),
    st.integers(3, 5),
    st.booleans(),
)
motions = st.tuples(st.integers(2, 30), st.sampled_from(list(EASINGS)), st.sampled_from(["latent", "image"]))


@given(walks, motions, st.integers(0, 3))
@settings(deadline=None, max_examples=20)
def test_every_walk_visits_its_keyframes_in_order_and_never_turns_back(found, motion, hold):
    (walk, keyframes), (frames, easing, pace) = found, motion
    t = times_of(walk, frames, easing, pace, hold)
    each = frames - (not walk.closed)
    assert len(t) == walk.segments * each + (not walk.closed) + hold * (walk.segments + (not walk.closed))
    assert (t.diff() >= 0).all()
    assert t[0] == 0
    assert t[-1] == walk.segments or walk.closed
    for k in range(walk.segments + (not walk.closed)):
        assert (t == k).sum() == 1 + hold
    whole = walk.at(torch.unique(t[t == t.round()]))
    assert_close(whole, keyframes[: len(whole)], rtol=0, atol=1e-5)


@given(walks, st.integers(2, 30), st.sampled_from(list(EASINGS)), st.sampled_from(["latent", "image"]))
@settings(deadline=None, max_examples=15)
def test_no_frame_is_shown_twice(found, frames, easing, pace):
    walk, _ = found
    t = times_of(walk, frames, easing, pace)
    z = walk.at(t)
    assert len({row.numpy().tobytes() for row in z}) == len(z)


@given(walks, st.integers(12, 24))
@settings(deadline=None, max_examples=6)
def test_by_image_all_steps_of_a_segment_are_equally_large_and_those_of_others_alike(found, frames):
    walk, _ = found
    t = times_of(walk, frames, "linear", "image")
    whole = torch.cat([t, torch.tensor([float(walk.segments)])]) if walk.closed else t
    dense = torch.cat(
        [torch.lerp(whole[:-1, None], whole[1:, None], torch.arange(16).double() / 16).flatten(), whole[-1:]]
    )
    steps = (
        visible_change(decode_batches(Linear(), walk.at(dense))).reshape(-1, 16).sum(1)
    )  # along the path, which may turn between frames
    for k in range(walk.segments):
        mine = steps[(whole[:-1] >= k) & (whole[:-1] < k + 1)]
        assert mine.max() <= 1.25 * mine.min()
    assert steps.max() <= 1.5 * steps.min()


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8), st.integers(0, 200))
@settings(deadline=None, max_examples=40)
def test_steps_are_shared_out_whole_and_fairly(change, more):
    steps = apportion(torch.tensor(change, dtype=torch.float64), len(change) + more)
    assert sum(steps) == len(change) + more
    assert min(steps) >= 1
    for a, b in zip(change, steps, strict=True):
        for c, d in zip(change, steps, strict=True):
            if b > 1:
                assert c / d <= a / (b - 1) * (1 + 1e-6)


@given(st.integers(1, 4), st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_even_change_keeps_whole_times_and_order(segments, seed):
    change = torch.rand(segments, 8, generator=torch.Generator().manual_seed(seed))
    t = times_for_steps([7] * segments)
    paced = arc_length_per_segment(t, change)
    assert torch.equal(paced[::7], t[::7])
    assert (paced.diff() > 0).all()


@given(st.integers(0, 10**6), st.integers(2, 20), st.booleans())
@settings(deadline=None, max_examples=6)
def test_walks_in_step_are_at_their_keyframes_together(seed, frames, closed):
    pair = [path_trajectory(path, Linear(), keyframes_of(seed, 4), closed) for path in ("linear", "spline")]
    clips = [Clip("", Linear(), walk) for walk in pair]
    (one, other), _ = frame_times(clips, MotionOptions(frames=frames, easing=EASINGS["linear"]))
    assert torch.equal(one == one.round(), other == other.round())
    assert len(one) == (4 * frames if closed else 3 * (frames - 1) + 1)


seconds = st.lists(st.floats(0.1, 3), min_size=3, max_size=5)


@given(seconds, st.floats(12, 60), st.booleans(), st.sampled_from(["latent", "image"]), st.sampled_from(list(EASINGS)))
@settings(deadline=None, max_examples=20)
def test_keyframes_are_reached_after_the_seconds_that_were_given(durations, fps, closed, pace, easing):
    keyframes = keyframes_of(len(durations), len(durations) + (not closed))
    walk = path_trajectory("spline", Linear(), keyframes, closed)
    motion = MotionOptions(durations=tuple(durations), fps=fps, pace=pace, easing=EASINGS[easing])
    ((t,), _) = frame_times([Clip("", Linear(), walk)], motion)
    ends = torch.tensor([0.0, *durations], dtype=torch.float64).cumsum(0)
    reached = [*(t == t.round()).nonzero().flatten().tolist(), *([len(t)] if closed else [])]
    assert all(abs(frame - fps * end) <= 0.5 + 1e-9 for frame, end in zip(reached, ends.tolist(), strict=True))


@given(walks, st.integers(1, 24), st.sampled_from(list(EASINGS)), st.integers(0, 2))
@settings(deadline=None, max_examples=15)
def test_equal_durations_are_equally_many_frames(found, steps, easing, hold):
    walk, _ = found
    same = MotionOptions(durations=(steps / 20,) * walk.segments, pace="latent", easing=EASINGS[easing], hold=hold)
    ((t,), _) = frame_times([Clip("", Linear(), walk)], same)
    assert torch.equal(t, times_of(walk, steps + (not walk.closed), easing, "latent", hold))


@pytest.mark.parametrize("path", PATH_NAMES)
def test_a_good_model_scores_well_on_every_path(path):
    walk = path_trajectory(path, Linear(), keyframes_of(1, 3), False)
    found = report(walk)
    assert found.cycle < 1e-5
    assert found.step < 1.05
    assert found.detour >= 1 - 1e-6


def test_segments_between_like_keyframes_do_not_count():
    a, b = keyframes_of(1, 2)
    alone = path_trajectory("slerp", Linear(), torch.stack([a, b]), False)
    rested = path_trajectory("slerp", Linear(), torch.stack([a, a, b, b]), False)
    assert_close(report(rested), report(alone), equal_nan=True)
    still = path_trajectory("slerp", Linear(), torch.stack([a, a]), False)
    assert all(number != number for number in report(still))


@pytest.mark.parametrize(
    "walk",
    [
        *(path_trajectory(path, Linear(), keyframes_of(2, 4), True) for path in PATH_NAMES),
        Trajectory(partial(great_circle, keyframes_of(3, 2)), QUARTERS, True),
        Trajectory(partial(noise_loop, keyframes_of(4, 6)), 6, True),
    ],
    ids=[*PATH_NAMES, "circle", "noise"],
)
@pytest.mark.parametrize("frames", [2, 15])
def test_a_loop_closes_with_a_step_like_the_others(walk: Trajectory, frames):
    found = seam(walk, times_of(walk, frames, "linear", "image"))
    assert found.repeated == 0
    assert 0.5 < found.step < 2 if frames == 2 else 0.8 < found.step < 1.25


def test_a_loop_that_repeats_itself_is_found_out():
    back_and_forth = Trajectory(lambda t: (0.3 + torch.sin(torch.pi * t))[:, None] * keyframes_of(0, 1), 2, True)
    assert seam(back_and_forth, torch.tensor([0.0, 0.5, 1.0, 1.5])).repeated >= 1
    jumping = Trajectory(lambda t: t[:, None].float() * keyframes_of(0, 1), 2, True)
    assert seam(jumping, torch.linspace(0, 1.9, 20, dtype=torch.float64)).step > 10
