"""Laws of every easing, and of the frames' times."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from data.system.errors import UserError
from vae.latent.timing import EASINGS, arc_length_times, cubic_bezier, parse_easing, steps_for_durations, times

CURVES = [  # every corner of what is allowed, and some that people use
    (0.1, 0.9, 0.2, 1),
    (0.85, 0, 0.15, 1),
    (0, 1, 0, 1),
    (1, 0, 1, 0),
    (0, 1, 1, 0),
    (1, 0, 0, 1),
    (1, 1, 0, 0),
    (0.5, 0, 0.5, 1),
]
NAMES = [*EASINGS, *(f"cubic-bezier({','.join(map(str, curve))})" for curve in CURVES)]
CSS = {  # https://www.w3.org/TR/css-easing-1/#cubic-bezier-easing-functions
    "ease": (0.25, 0.1, 0.25, 1),
    "ease-in": (0.42, 0, 1, 1),
    "ease-out": (0, 0, 0.58, 1),
    "ease-in-out": (0.42, 0, 0.58, 1),
}
every_easing = pytest.mark.parametrize("name", NAMES)
GRID = torch.linspace(0, 1, 10001, dtype=torch.float64)


def sampled_curve(points, t):
    """De Casteljau's construction at many points of the curve, read off at abscissa t."""
    s = np.linspace(0, 1, 200_001)
    x, y = (
        [np.zeros_like(s), np.full_like(s, p), np.full_like(s, q), np.ones_like(s)]
        for p, q in (points[0::2], points[1::2])
    )
    while len(x) > 1:
        x, y = ([a + s * (b - a) for a, b in pairwise(c)] for c in (x, y))
    return torch.from_numpy(np.interp(t.numpy(), x[0], y[0]))


@every_easing
def test_an_easing_keeps_both_ends_exactly_never_falls_stays_between_0_and_1_and_has_no_leap(name):
    eased = parse_easing(name)(GRID)
    assert eased[[0, -1]].tolist() == [0, 1]
    assert (eased.diff() >= 0).all()
    assert ((eased >= 0) & (eased <= 1)).all()
    assert eased.diff().max() < 0.2  # the steepest, 1 − (1 − ∛t)³, climbs by 0.13 in its first step


@pytest.mark.parametrize(("name", "points"), [*CSS.items(), *zip(NAMES[len(EASINGS) :], CURVES, strict=True)])
def test_a_bezier_easing_is_its_densely_sampled_curve(name, points):
    t = GRID[100:-100:100]
    assert_close(parse_easing(name)(t), sampled_curve(points, t), rtol=0, atol=1e-5)


def test_ease_has_its_well_known_half():
    assert float(parse_easing("ease")(torch.tensor(0.5, dtype=torch.float64))) == pytest.approx(0.8024034, abs=1e-7)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (0.3, 0.7), (0, 0), (1, 1), (0.9, 0.2), (1 / 3, 2 / 3)])
def test_a_bezier_with_control_points_on_the_diagonal_is_linear(a, b):
    assert_close(cubic_bezier(a, a, b, b)(GRID), GRID, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["linear", "ease-in-out", "cubic-in-out", "cubic-bezier(1,0,0,1)"])
def test_a_symmetric_easing_ends_as_it_begins(name):
    assert_close(parse_easing(name)(1 - GRID), 1 - parse_easing(name)(GRID), rtol=0, atol=1e-5)


def test_ease_in_reversed_is_ease_out():
    assert_close(parse_easing("ease-in")(1 - GRID), 1 - parse_easing("ease-out")(GRID), rtol=0, atol=1e-12)


def test_spaces_in_a_bezier_do_not_matter():
    assert torch.equal(parse_easing(" cubic-bezier(0.42, 0, 0.58, 1) ")(GRID), parse_easing("ease-in-out")(GRID))


def test_a_bad_easing_is_refused_in_one_line():
    for name in (
        "",
        "Ease",
        "no such curve",
        "cubic-bezier",
        "cubic-bezier()",
        "cubic-bezier(0,0,1)",
        "cubic-bezier(0,0,1,1,1)",
        "cubic-bezier(a,b,c,d)",
        "cubic-bezier(0,0,1,1",
        "cubic-bezier(-0.1,0,1,1)",
        "cubic-bezier(0,0,1.1,1)",
        "cubic-bezier(0,-1,1,1)",
        "cubic-bezier(0,0,1,2)",
        "cubic-bezier(nan,0,1,1)",
        "cubic-bezier(0,0,inf,1)",
    ):
        with pytest.raises(UserError) as caught:
            parse_easing(name)
        assert "\n" not in str(caught.value), name


@every_easing
def test_open_times_share_keyframes_and_end_at_the_last_one_exactly(name):
    for segments, frames in product((1, 2, 5), (2, 3, 24)):
        t = times(segments, frames, parse_easing(name))
        assert t.dtype == torch.float64
        assert len(t) == segments * (frames - 1) + 1, (segments, frames)
        assert t[:: frames - 1].tolist() == list(range(segments + 1)), (segments, frames)


@every_easing
def test_closed_times_begin_a_segment_at_each_keyframe_and_never_reach_the_end(name):
    for segments, frames in product((1, 2, 5), (1, 2, 24)):
        t = times(segments, frames, parse_easing(name), closed=True)
        assert len(t) == segments * frames, (segments, frames)
        assert t[::frames].tolist() == list(range(segments)), (segments, frames)
        assert t.max() < segments, (segments, frames)


@every_easing
def test_times_ascend_without_standing_still_and_every_segment_is_eased_alike(name):
    for closed, frames in product((False, True), (2, 7, 120)):
        t = times(3, frames, parse_easing(name), closed)
        assert (t.diff() > 0).all(), (closed, frames)
        period = frames if closed else frames - 1
        assert_close(t[period:], t[:-period] + 1, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("segments", "frames"), [(1, 5), (3, 7), (4, 1)])
def test_linear_closed_times_are_equal_steps_with_the_seam_included(segments, frames):
    t = times(segments, frames, closed=True)
    steps = torch.cat([t, torch.tensor([segments], dtype=t.dtype)]).diff()
    assert_close(steps, torch.full_like(steps, 1 / frames))


def test_too_few_frames_or_segments_are_refused():
    for segments, frames, closed in (
        (1, 1, False), (1, 0, False), (1, 0, True), (1, -3, True), (0, 5, False), (0, 5, True), (-1, 5, False),
    ):  # fmt: skip
        with pytest.raises(UserError, match=r"(frames|segments) -?\d: must be at least"):
            times(segments, frames, closed=closed)


def test_durations_shorter_than_a_frame_have_a_step_each_and_the_next_ones_make_up_for_them():
    for durations, fps, steps in (([0.001] * 4, 10, [1] * 4), ([0.01, 0.01, 0.01, 0.97], 10, [1, 1, 1, 7])):
        assert steps_for_durations(durations, fps) == steps


def random_change(seed, count=20):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(4))
def test_an_even_pace_shares_the_change_equally(seed):
    t, change = torch.linspace(0, 3, 21, dtype=torch.float64), random_change(seed)
    found = arc_length_times(t, change, torch.linspace(0, 1, 9))
    passed = torch.cat([torch.zeros(1), change.cumsum(0)])
    at = torch.from_numpy(np.interp(found.numpy(), t.numpy(), passed.numpy()))
    assert_close(at.diff(), torch.full((8,), float(change.sum() / 8), dtype=torch.float64))
    assert found[0] == 0
    assert found[-1].item() == pytest.approx(3)


@pytest.mark.parametrize("change", [torch.ones(10), torch.zeros(10)], ids=["constant", "none"])
def test_an_even_pace_changes_nothing_where_the_change_is_even_or_none(change):
    share = torch.linspace(0, 1, 7, dtype=torch.float64)
    assert_close(arc_length_times(torch.linspace(0, 1, 11), change, share), share, atol=1e-6, rtol=0)


def test_an_even_pace_rushes_through_what_stands_still():
    change = torch.tensor([1.0, 0, 0, 1])
    found = arc_length_times(torch.linspace(0, 1, 5), change, torch.tensor([0.25, 0.49, 0.51, 0.75]))
    assert found[1] < 0.25
    assert found[2] > 0.75
    assert (found.diff() > 0).all()
