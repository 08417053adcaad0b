"""Laws of every path, open and closed, and what slerp promises beyond them."""

import math
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from data.system.errors import UserError
from vae.latent.paths import PATHS, linear, noise_loop, slerp, spline

every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
open_and_closed = pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
DOUBLE = torch.float64


def normal(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(normal(*shape, seed=seed), dim=-1)


def times(*values):
    return torch.tensor(values, dtype=DOUBLE)


def angle_between(a, b):
    return 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))


@pytest.mark.parametrize("path", [*PATHS.values(), noise_loop])
def test_latents_are_on_the_device_of_their_keyframes(path):
    keyframes, t = torch.ones(6, 4, device="meta"), torch.ones(3, device="meta")
    assert path(keyframes, t).device.type == "meta"


@every_path
def test_passes_through_keyframe_k_at_time_k(path):
    for closed, count, dims in product((False, True), (2, 3, 7), (1, 2, 16)):
        keyframes = normal(count, dims)
        assert_close(path(keyframes, torch.arange(count), closed), keyframes, rtol=0, atol=1e-12)


@every_path
def test_a_closed_path_is_back_at_keyframe_0_at_its_end(path):
    for count in (2, 3, 7):
        keyframes = normal(count, 5)
        assert_close(path(keyframes, times(count), True), keyframes[:1], rtol=0, atol=1e-12)


@every_path
@open_and_closed
def test_no_step_is_longer_than_its_time_allows(path, closed):
    keyframes = normal(4, 6)
    t = torch.linspace(0, 4 if closed else 3, 4001, dtype=DOUBLE)
    fastest = 2 * keyframes.norm(dim=1).max() * (1 + math.pi)
    steps = path(keyframes, t, closed).diff(dim=0).norm(dim=1)
    assert (steps <= fastest * t.diff()).all()
    assert (steps > 0).all()


@pytest.mark.parametrize("path", [linear, slerp])  # a spline's ends bend its whole length
def test_open_and_closed_agree_before_the_last_keyframe(path):
    keyframes, t = normal(4, 5), torch.linspace(0, 3, 50, dtype=DOUBLE)
    assert_close(path(keyframes, t, True), path(keyframes, t, False), rtol=0, atol=1e-12)


@every_path
@open_and_closed
def test_a_latent_depends_on_its_own_time_alone(path, closed):
    keyframes, t = normal(4, 5), 3 * torch.rand(20, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    alone = torch.cat([path(keyframes, time[None], closed) for time in t])
    assert torch.equal(path(keyframes, t, closed), alone)


@every_path
@open_and_closed
def test_keeps_the_keyframes_dtype(path, closed):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        keyframes = normal(3, 5).to(dtype)
        z = path(keyframes, times(0, 0.5, 2), closed)
        assert z.dtype == dtype
        assert_close(z[0], keyframes[0])


@every_path
def test_fewer_than_two_keyframes_are_refused(path):
    for closed, count in product((False, True), (0, 1)):
        with pytest.raises(UserError, match=f"{count} keyframe"):
            path(normal(count, 4), times(0), closed)


@every_path
def test_the_reversed_keyframes_give_the_reversed_path(path):
    keyframes, t = normal(4, 5), torch.linspace(0, 3, 31, dtype=DOUBLE)
    assert_close(path(keyframes.flip(0), 3 - t, False), path(keyframes, t, False), rtol=0, atol=1e-12)


@open_and_closed
def test_linear_goes_on_straight_outside(closed):
    keyframes = normal(3, 5)
    a, b = (keyframes[2], keyframes[0]) if closed else (keyframes[1], keyframes[2])
    for beyond in (0.25, 1.0, 3.0):
        before, after = linear(keyframes, times(-beyond, (3 if closed else 2) + beyond), closed)
        assert_close(before, keyframes[0] - beyond * (keyframes[1] - keyframes[0]))
        assert_close(after, b + beyond * (b - a))


def test_slerp_goes_on_turning_outside():
    t = torch.linspace(-3, 4, 71, dtype=DOUBLE)
    expected = torch.stack([(t * math.pi / 2).cos(), (t * math.pi / 2).sin()], dim=1)
    assert_close(slerp(torch.eye(2, dtype=DOUBLE), t), expected, rtol=0, atol=1e-12)


def test_slerp_never_gives_a_negative_length():
    keyframes = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert_close(slerp(keyframes, times(-0.5, -1, -3)).norm(dim=1), torch.tensor([0.5, 0.0, 0.0]))


def test_slerp_of_unit_vectors_is_shoemakes_formula():
    t = torch.linspace(0, 1, 21, dtype=DOUBLE)[:, None]
    for seed, dims in product(range(5), (2, 3, 64)):
        a, b = unit(2, dims, seed=seed)
        omega = (a @ b).acos()
        expected = ((1 - t) * omega).sin() / omega.sin() * a + (t * omega).sin() / omega.sin() * b
        assert_close(slerp(torch.stack([a, b]), t[:, 0]), expected, rtol=0, atol=1e-10)


def test_slerp_interpolates_directions_as_unit_vectors_and_lengths_linearly():
    t = torch.linspace(0, 1, 21, dtype=DOUBLE)
    lengths = 0.5 + 6.5 * t
    for seed in range(5):
        directions = unit(2, 8, seed=seed)
        z = slerp(directions * times(0.5, 7)[:, None], t)
        assert_close(z.norm(dim=1), lengths)
        assert_close(z / lengths[:, None], slerp(directions, t), rtol=0, atol=1e-12)


def test_slerp_turns_by_equal_angles_in_equal_times():
    for seed in range(5):
        keyframes = unit(2, 8, seed=seed)
        z = slerp(keyframes, torch.linspace(0, 1, 13, dtype=DOUBLE))
        whole = angle_between(*keyframes)
        assert_close(angle_between(z[1:], z[:-1]), (whole / 12).expand(12), rtol=0, atol=1e-10)


LEANING = {
    "generic": ([0.6, -0.1, 2.0], 1),
    "on an axis": ([0.0, 3.0, 0.0], 0),
    "all alike": ([1.0, 1.0, 1.0], 0),
    "two alike": ([-2.0, 0.5, 0.5], 1),
}


@pytest.mark.parametrize(("vector", "least"), LEANING.values(), ids=LEANING)
def test_slerp_of_opposite_vectors_turns_through_the_axis_that_a_leans_on_least(vector, least):
    for dtype, scale in product((torch.float32, torch.float64), (1, 0.3, 7)):
        a = torch.tensor(vector, dtype=dtype)
        z = slerp(torch.stack([a, -scale * a]), torch.linspace(0, 1, 5))
        assert z.isfinite().all()
        u = a / a.norm()
        axis = torch.eye(3, dtype=dtype)[least]
        halfway = torch.nn.functional.normalize(axis - (u @ axis) * u, dim=0) * a.norm() * (1 + scale) / 2
        assert_close(z[2], halfway, rtol=1e-5, atol=1e-6)
        assert_close(z[2] @ u, torch.tensor(0.0, dtype=dtype), rtol=0, atol=1e-5)
        turns = torch.nn.functional.normalize(z, dim=1)
        quarter = torch.full((4,), math.pi / 4, dtype=dtype)
        assert_close(angle_between(turns[1:], turns[:-1]), quarter, rtol=1e-5, atol=1e-6)


@open_and_closed
def test_slerp_of_equal_directions_is_the_straight_line(closed):
    a, t = normal(6), torch.linspace(0, 1, 11, dtype=DOUBLE)
    for factor in (1, 0.2, 5):
        keyframes = torch.stack([a, factor * a])
        assert_close(slerp(keyframes, t, closed), linear(keyframes, t, closed), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_slerp_from_to_and_between_zero_vectors_is_the_straight_line(dtype):
    a, zero = normal(6).to(dtype), torch.zeros(6, dtype=dtype)
    keyframes, t = torch.stack([zero, a, zero, zero, -a]), torch.linspace(0, 5, 51, dtype=DOUBLE)
    assert_close(slerp(keyframes, t, True)[:41], linear(keyframes, t, True)[:41], rtol=0, atol=1e-6)
    assert (slerp(keyframes, t)[20:31] == 0).all()


@pytest.mark.parametrize("sign", [1, -1], ids=["nearly equal", "nearly opposite"])
def test_slerp_of_nearly_parallel_vectors_keeps_lengths_and_ends(sign):
    a, t = unit(5), torch.linspace(0, 1, 11, dtype=DOUBLE)
    for dtype, exponent in product((torch.float32, torch.float64), range(1, 19)):
        keyframes = torch.stack([a, sign * (a + 10.0**-exponent * normal(5, seed=1))]).to(dtype)
        z = slerp(keyframes, t)
        lengths = linear(keyframes.norm(dim=1, keepdim=True), t)[:, 0]
        assert_close(z.norm(dim=1), lengths, rtol=1e-6, atol=0)
        assert_close(z[[0, -1]], keyframes, rtol=0, atol=5e-7)


@pytest.mark.parametrize("size", [1e-37, 1e37])
def test_slerp_neither_underflows_nor_overflows_in_float32(size):
    keyframes = size * torch.eye(2)
    assert_close(slerp(keyframes, times(0.5)) / size, torch.full((1, 2), math.sqrt(0.5)))


def derivatives(path, keyframes, at, closed, side):
    """Velocity and acceleration just before (−1) or after (1) a time, by one-sided differences of second order."""
    h = side * 1e-4
    z = path(keyframes, at + h * torch.arange(4, dtype=DOUBLE), closed)
    return (-3 * z[0] + 4 * z[1] - z[2]) / (2 * h), (2 * z[0] - 5 * z[1] + 4 * z[2] - z[3]) / h**2


@open_and_closed
def test_a_spline_has_no_kink_at_its_keyframes_and_the_others_have(closed):
    for count in (3, 4, 6):
        keyframes = normal(count, 6)
        inner = range(0 if closed else 1, count if closed else count - 1)
        for k, smooth in product(inner, (slerp, spline)):
            end = count if closed and k == 0 else k
            before, after = (
                derivatives(smooth, keyframes, end, closed, -1),
                derivatives(smooth, keyframes, k, closed, 1),
            )
            kinks = [(a - b).norm() / b.norm() for a, b in zip(before, after, strict=True)]
            assert (max(kinks) < 1e-3) == (smooth is spline)


@open_and_closed
def test_a_spline_through_keyframes_of_one_length_stays_near_that_length(closed):
    z = spline(3 * unit(5, 16), torch.linspace(0, 5 if closed else 4, 201, dtype=DOUBLE), closed)
    assert_close(z.norm(dim=1), torch.full((201,), 3.0, dtype=DOUBLE))


def test_a_spline_through_two_keyframes_is_their_great_circle():
    keyframes, t = unit(2, 8), torch.linspace(0, 1, 21, dtype=DOUBLE)
    z = spline(keyframes, t)
    away = z - z @ torch.linalg.pinv(keyframes) @ keyframes
    assert away.abs().max() < 1e-12
    assert (angle_between(z[:-1], z[1:]) > 0).all()


@open_and_closed
def test_a_spline_between_opposite_keyframes_does_not_jump(closed):
    for dims in (1, 2, 5):
        keyframes = torch.ones(2, dims, dtype=DOUBLE) * times(1, -1)[:, None]
        z = spline(keyframes, torch.linspace(0, 1, 10_001, dtype=DOUBLE), closed)
        assert z.isfinite().all()
        assert z.diff(dim=0).norm(dim=1).max() < 1e-2


def test_a_spline_that_passes_by_the_origin_has_no_kink_either():
    angle = torch.tensor(2.6, dtype=DOUBLE)
    keyframes = 2 * torch.stack([torch.tensor([1.0, 0.0], dtype=DOUBLE), torch.stack([angle.cos(), angle.sin()])])
    height, half = (angle / 2).cos(), (angle / 2).sin()  # of the chord, whose points are nearer than half at 0.5
    crossing = float(0.5 - (0.25 - height**2).sqrt() / half / 2)
    assert spline(keyframes, times(crossing)).norm() == pytest.approx(2, abs=1e-9)
    before, after = (derivatives(spline, keyframes, crossing, False, side) for side in (-1, 1))
    assert max((a - b).norm() / b.norm() for a, b in zip(before, after, strict=True)) < 1e-2
    assert spline(keyframes, times(0.5)).norm() < 2
