"""Tours are short, and visit every point once."""

from itertools import permutations

import numpy as np
import pytest

from vae.latent.closed_tour import closed_tour, nearest_neighbour, tour_length


def distances_of(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points, axis=2)


@pytest.mark.parametrize("count", [3, 4, 5, 12, 40, 100])
def test_a_tour_is_a_permutation_no_longer_than_random_ones_and_the_nearest_neighbours(count):
    chance = np.random.default_rng(count)
    distances = distances_of(chance.standard_normal((count, 6)))
    order = closed_tour(distances)
    assert sorted(order) == list(range(count))
    assert order[0] == 0
    length = tour_length(distances, order) - 1e-9
    assert length <= tour_length(distances, nearest_neighbour(distances))
    assert all(length <= tour_length(distances, chance.permutation(count)) for _ in range(20))


@pytest.mark.parametrize("count", [3, 10, 60])
def test_points_on_a_circle_are_visited_around_it(count):
    place = np.random.default_rng(0).permutation(count)
    angles = 2 * np.pi * place / count
    order = closed_tour(distances_of(np.stack([np.cos(angles), np.sin(angles)], 1)))
    steps = np.diff(place[order], append=place[order[0]]) % count
    assert set(steps.tolist()) in ({1}, {count - 1})


def test_few_points_have_nearly_the_shortest_tour_of_all():
    for seed in range(10):
        distances = distances_of(np.random.default_rng(seed).standard_normal((7, 2)))
        best = min(tour_length(distances, np.array([0, *rest])) for rest in permutations(range(1, 7)))
        assert tour_length(distances, closed_tour(distances)) <= 1.02 * best


def test_like_points_do_no_harm():
    assert sorted(closed_tour(np.zeros((6, 6)))) == list(range(6))
