"""The times of frames that follow a speed, such as a sound's: keyframes are shown where it is low.

Frames move by v_f from one to the next, and Φ(f) ≥ 0 is the share of all that when frame f is shown. S segments take
the shares w_k of a path's visible change. Keyframe k is shown by frame f_k, the f_k ascend, and minimise

    Σ_k v(f_k) / mean v + (S Φ(f_k) − S Σ_{j<k} w_j)²

where v(f) is the speed at which frame f is reached: a keyframe is shown where the film stands, at most about a segment
from where the speed alone would put it. Between f_k and f_{k+1} the film moves in proportion to v.
"""

import torch
from torch import Tensor

from data.system.errors import UserError
from data.system.spelling import counted


def times_by_speed(speed: Tensor, shares: Tensor, closed: bool = False, rounds: int = 1) -> Tensor:
    """The times (T,) of frames on a path that reaches keyframe k at t = k, each of which one frame shows exactly.

    Args:
        speed: (T,), 0 or more. speed[f] is how fast frame f is reached from f − 1; speed[0] is that of the step from
            the last frame of a closed path to its first, and of an open one nothing.
        shares: (S,) of the path's visible change that each segment has.
        closed: the path ends where it began, and the frame after the last would be the first again.
        rounds: how many times a closed path is gone around.

    Raises:
        UserError: fewer frames than keyframes.

    >>> times_by_speed(torch.tensor([9.0, 1.0, 3.0]), torch.ones(1)).tolist()
    [0.0, 0.25, 1.0]
    >>> times_by_speed(torch.tensor([9.0, 9.0, 1.0, 9.0, 9.0]), torch.ones(2) / 2).tolist()
    [0.0, 0.9, 1.0, 1.5, 2.0]
    >>> times_by_speed(torch.ones(4), torch.ones(2) / 2, closed=True, rounds=2).tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    moves = (torch.cat([speed[1:], speed[:1]]) if closed else speed[1:]).double()
    segments = rounds * len(shares)
    if len(moves) < segments:
        seen = counted(segments if closed else segments + 1, "keyframe")
        raise UserError(f"{counted(len(speed), 'frame')}: too few to show {seen}; give more --fps or fewer keyframes")
    if not moves.any():
        moves = torch.ones_like(moves)
    passed = torch.cat([moves.new_zeros(1), moves.cumsum(0)])
    places = _quiet_places(moves, passed / passed[-1], shares.double().repeat(rounds) / rounds)
    frames = torch.arange(len(passed))
    segment = (torch.searchsorted(places, frames, right=True) - 1).clamp(0, segments - 1)
    first, last = places[segment], places[segment + 1]
    whole = passed[last] - passed[first]
    within = torch.where(whole > 0, (passed - passed[first]) / whole, (frames - first) / (last - first))
    t = (segment + within)[: len(speed)]
    return t % len(shares) if closed else t


def _quiet_places(moves: Tensor, passed: Tensor, shares: Tensor) -> Tensor:
    """The frames f_k (S + 1,) of keyframes, from 0 to the last, by dynamic programming over k.

    Args:
        moves: (F,), from frame f to f + 1.
        passed: Φ, (F + 1,).
        shares: w, (S,).
    """
    speed = torch.cat([moves.new_zeros(1), moves]) / moves.mean()
    cost, befores = torch.full_like(passed, torch.inf), []
    cost[0] = 0
    for goal in shares.cumsum(0)[:-1]:
        least, before = cost.cummin(0)
        befores.append(before)
        cost = speed + (len(shares) * (passed - goal)).square()
        cost[1:] += least[:-1]
        cost[0] = torch.inf
    places = [len(moves), int(cost[:-1].argmin())] if befores else [len(moves), 0]
    for before in befores[::-1]:
        places.append(int(before[places[-1] - 1]))
    return torch.tensor(places[::-1])
