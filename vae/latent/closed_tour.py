"""A short closed tour through points, of which only the distances are known: the travelling salesman's problem.

A tour that always goes on to the nearest point that is left is made shorter, each time by the move that gains most:
2-opt turns a part of it around (Croes, *A Method for Solving Traveling-Salesman Problems*, Operations Research 6(6),
1958), Or-opt puts one, two or three neighbours between two others, either way round (Or, *Traveling Salesman-Type
Combinatorial Problems*, 1976). It ends where no move gains.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_LONGEST_MOVED = 3
_LEAST_GAIN = 1e-9  # over the longest distance

Distances = NDArray[np.float64]
Order = NDArray[np.intp]


def tour_length(distances: Distances, order: Order) -> float:
    """The length of a closed tour."""
    return float(distances[order, np.roll(order, -1)].sum())


def nearest_neighbour(distances: Distances) -> Order:
    """From point 0 on always to the nearest that is left: (K,)."""
    order, left = [0], np.ones(len(distances), bool)
    for _ in distances[1:]:
        left[order[-1]] = False
        order.append(int(np.where(left, distances[order[-1]], np.inf).argmin()))
    return np.array(order)


def closed_tour(distances: Distances) -> Order:
    """The order (K,) of a short closed tour that begins at point 0, of symmetric distances (K, K), K of three or more.

    It is no longer than that of `nearest_neighbour`.
    """
    order = nearest_neighbour(distances)
    while True:
        gain, better = max(_moves(distances, order), key=lambda move: move[0])
        if gain <= _LEAST_GAIN * distances.max():
            return np.roll(order, -int(order.argmin()))
        order = better


def _moves(distances: Distances, order: Order) -> Iterator[tuple[float, Order]]:
    """The best move of each kind: what it gains, and the order after it."""
    count, d = len(order), distances[order][:, order]
    places = np.arange(count)
    after = np.roll(places, -1)
    edge = d[places, after]

    gain = edge[:, None] + edge - d - d[after][:, after]  # the edges after i and j give way to i–j and those after them
    np.fill_diagonal(gain, 0)
    i, j = sorted(map(int, np.unravel_index(gain.argmax(), gain.shape)))
    yield float(gain[i, j]), np.concatenate([order[: i + 1], order[i + 1 : j + 1][::-1], order[j + 1 :]])

    for length in range(1, min(_LONGEST_MOVED, count - 2) + 1):
        last, before, behind = (places + length - 1) % count, (places - 1) % count, (places + length) % count
        closed = edge[before] + edge[last] - d[before, behind]  # what the tour without places i to last is shorter
        for first, second in ((places, last), (last, places)):
            gain = closed[:, None] + edge - d[first] - d[second][:, after]  # between j and the place after it
            gain[(places - places[:, None] + 1) % count <= length] = -np.inf  # j in the part, or just before it
            i, j = map(int, np.unravel_index(gain.argmax(), gain.shape))
            rest = np.roll(order, -i)
            part = rest[:length] if first is places else rest[:length][::-1]
            cut = (j - i) % count + 1
            yield float(gain[i, j]), np.concatenate([rest[length:cut], part, rest[cut:]])
