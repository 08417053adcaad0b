"""The LINES benchmark: what its scores are for paths that are known, and for models."""

import math

import pytest
import torch
from torch.testing import assert_close

from data.synthetic.lines import draw_lines
from vae import checkpoint
from vae.model.vae import VAE
from vae.render import lines_benchmark as lines
from vae.render.models import SHIPPED

PAPER = {  # degrees → row, column → brightness, as in the paper's own pictures
    2.0057295779513082: {
        (14, 30): 0.4728,
        (15, 16): 0.9825,
        (16, 16): 1,
        (16, 30): 0.5272,
        (17, 16): 0.0175,
        (15, 31): 0,
    },
    60.0057295779513: {
        (3, 22): 0.2057,
        (3, 23): 0.9911,
        (3, 24): 0.7854,
        (8, 19): 0.0937,
        (15, 15): 0.1342,
        (2, 23): 0,
    },
}


@pytest.mark.parametrize("degrees", PAPER)
def test_lines_are_drawn_as_in_the_paper(degrees: float):
    (picture,) = draw_lines(torch.tensor([math.radians(degrees)], dtype=torch.float64))[..., 0]
    for (row, column), brightness in PAPER[degrees].items():
        assert picture[row, column].item() == pytest.approx(brightness, abs=1e-4), (row, column)


@pytest.fixture(scope="module")
def angles():
    return lines.random_pairs(seed=5, count=24)


def turning(start, total, frames=lines.FRAMES):
    """Lines that turn evenly from angles `start` (P,) by `total` (P,)."""
    return lines.line_images(start[:, None] + total[:, None] * torch.linspace(0, 1, frames, dtype=torch.float64))


def test_pairs_are_fresh_for_every_seed_and_cover_the_circle():
    first, second = lines.random_pairs(1), lines.random_pairs(2)
    assert first.shape == (256, 2)
    assert not torch.equal(first, second)
    assert 0 <= first.min() < 0.1 < 6.2 < first.max() < 2 * math.pi


def test_the_true_rotation_is_nearly_perfect(angles):
    found = lines.score(lines.control_paths(angles)["rotation"], angles)
    assert found.distance < 1e-6
    assert found.smoothness < 0.01
    assert found.end_error < 0.03
    assert found.long_way == 0
    assert found.backtracking < 0.02


def test_a_cross_fade_shows_two_lines_and_jumps(angles):
    found = lines.score(lines.control_paths(angles)["cross-fade"], angles)
    assert 5e-3 < found.distance < 9e-3
    assert 0.8 < found.smoothness < 14 / 15
    assert found.end_error < 0.03


def test_a_hard_cut_shows_lines_and_jumps_once(angles):
    found = lines.score(lines.control_paths(angles)["hard cut"], angles)
    assert found.distance < 1e-6
    assert_close(found.smoothness, torch.tensor(1 - 1 / 15, dtype=torch.float64))
    assert found.end_error < 0.03
    assert_close(found.backtracking, torch.tensor(0.0, dtype=torch.float64))


def test_every_control_begins_and_ends_with_the_pair(angles):
    for name, film in lines.control_paths(angles).items():
        assert film.shape == (24, 16, 1, 32, 32)
        assert_close(film[:, [0, -1]], lines.line_images(angles), atol=1e-3, rtol=0, msg=name)


def test_the_larger_angle_is_the_long_way(angles):
    short = torch.full((24,), 1.0, dtype=torch.float64)
    ends = torch.stack([angles[:, 0], angles[:, 0] + 1], 1)
    assert lines.score(turning(angles[:, 0], short), ends).long_way == 0
    assert lines.score(turning(angles[:, 0], short - 2 * math.pi), ends).long_way == 1


def test_turning_back_is_counted(angles):
    there = turning(angles[:, 0], torch.ones(24, dtype=torch.float64), 6)
    film = torch.cat([there, there.flip(1), there], 1)  # there, back and there again
    ends = torch.stack([angles[:, 0], angles[:, 0] + 1], 1)
    assert lines.score(film, ends).backtracking.item() == pytest.approx(2, abs=0.01)


def test_wrong_ends_are_given_in_degrees(angles):
    film = turning(angles[:, 0] + math.radians(2), torch.ones(24, dtype=torch.float64))
    ends = torch.stack([angles[:, 0], angles[:, 0] + 1], 1)
    assert lines.score(film, ends).end_error.item() == pytest.approx(2, abs=0.02)


def test_a_path_that_does_not_turn_counts_as_smooth(angles):
    still = lines.line_images(angles[:, :1].expand(-1, 16))
    found = lines.score(still, angles[:, :1].expand(-1, 2))
    assert found.smoothness == found.backtracking == found.long_way == 0


class Turner(VAE):
    """Codes are the line's angle on a circle, pictures the line at the code's angle: a perfect model of lines."""

    def __init__(self):
        super().__init__(32, 1, latent_dim=8, width=8)

    def encode(self, x):
        angle = lines.nearest_lines(x)[0].float()
        mu = torch.zeros(len(x), 8)
        mu[:, 2], mu[:, 5] = angle.cos(), angle.sin()
        return mu, torch.zeros(len(x), 8)

    def decode(self, z):
        return lines.line_images(torch.atan2(z[:, 5], z[:, 2]))


def test_on_a_perfect_circle_slerp_is_the_rotation_and_linear_rushes_through_the_middle(angles):
    found = lines.score_paths(Turner(), angles)
    assert found["slerp"].distance < 1e-5
    assert found["slerp"].smoothness < 0.01
    assert found["slerp"].end_error < 0.05
    assert found["linear"].smoothness > 3 * found["slerp, even"].smoothness
    assert found["slerp, even"].smoothness < 0.02


def test_the_table_has_a_row_for_every_path_and_control(angles):
    output = lines.scores_table(lines.score_paths(Turner(), angles[:8])).splitlines()
    assert [row[:13].strip() for row in output] == [
        "path", "linear", "slerp", "slerp, even", "rotation", "cross-fade", "hard cut",
    ]  # fmt: skip
    assert len({len(row) for row in output}) == 1


def test_the_shipped_model_turns_its_lines(angles):
    path = SHIPPED.with_name("lines.ckpt")
    assert path.stat().st_size < 3_000_000
    found = lines.score_paths(checkpoint.load_vae(path), angles[:8])["slerp"]
    assert found.distance < 0.5e-3
    assert found.smoothness < 0.025
    assert found.end_error < 0.3
