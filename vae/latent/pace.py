"""When, by what is seen: times at which a path's pictures have changed by equal amounts."""

from collections.abc import Sequence
from heapq import heapify, heapreplace

import torch
from torch import Tensor

from data.system.errors import UserError
from vae.latent.paths import locate
from vae.latent.timing import EASINGS, Easing, stepped, times


def even_pace(t: Tensor, change: Tensor, share: Tensor) -> Tensor:
    """When given shares of all visible change have passed: the arc length in decoded space, inverted.

    Args:
        t: (M,) ascending times at which a path was looked at.
        change: (M − 1,) how much the picture changed from one to the next, 0 or more.
        share: (T,) in [0, 1].

    Returns:
        (T,) times, float64; equal shares make equal steps of change. Where nothing changes, time passes evenly.

    >>> even_pace(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, 1.0]), torch.tensor([0.0, 0.5, 1.0])).tolist()
    [0.0, 0.6666666666666666, 2.0]
    """
    t, change = t.to(torch.float64), change.to(torch.float64)
    change = change.clamp_min(max(1e-9 * float(change.sum()), 1e-300))  # so that every share has one time
    passed = torch.cat([change.new_zeros(1), change.cumsum(0)])
    target = share.to(torch.float64) * passed[-1]
    after = torch.searchsorted(passed, target).clamp(1, len(change))
    within = ((target - passed[after - 1]) / change[after - 1]).clamp(0, 1)
    return torch.lerp(t[after - 1], t[after], within)


def evenly_changing(t: Tensor, change: Tensor) -> Tensor:
    """Times at which shares of each segment's visible change have passed, instead of shares of its duration.

    Args:
        t: (T,), in [0, S]; what has passed of a segment is the share that is wanted.
        change: (S, M) how much the picture changes in each of M equal stretches of each segment.

    Returns:
        (T,) times, float64; whole times stay as they are.
    """
    segments, stretches = change.shape
    places = torch.linspace(0, 1, stretches + 1, dtype=torch.float64)
    segment, passed = locate(t, segments)
    paced = t.to(torch.float64).clone()
    for k in range(segments):
        mine = segment == k
        paced[mine] = k + even_pace(places, change[k], passed[mine])
    return paced


def in_step(
    changes: Sequence[Tensor], frames: int, easing: Easing = EASINGS["linear"], closed: bool = False, hold: int = 0
) -> list[Tensor]:
    """The frames' times on paths that are shown together, paced by what is seen: equal steps of visible change.

    Each segment has frames by how much the picture changes in it, on average over the paths, and the easing says how
    much of that change has passed at each. All paths are at their keyframes together.

    Args:
        changes: of each path, (S, M), see `evenly_changing`.
        frames: per segment as for `times`, on average.
        easing: applied inside each segment.
        closed: whether the paths return to their beginnings.
        hold: how many more frames rest on each keyframe.

    Returns:
        (T,) times for each path, T as for `times` and `hold` more for each keyframe.

    Raises:
        UserError: too few frames.
    """
    alike = len(times(len(changes[0]), frames, closed=closed)) - (not closed)
    share = torch.stack([change.sum(1) / change.sum().clamp_min(1e-12) for change in changes]).mean(0)
    steps = stepped(allotted(share, alike), easing, closed, hold)
    return [evenly_changing(steps, change) for change in changes]


def allotted(change: Tensor, total: int) -> list[int]:
    """Steps shared out to segments as their visible change asks, so that all steps are about equally large.

    Each gets at least one, the rest goes one by one to whichever segment has the largest steps: no other way to share
    makes the largest step smaller (Jefferson's method of apportionment).

    Args:
        change: (S,) visible change of each segment, 0 or more.
        total: of all steps, S or more.

    Raises:
        UserError: fewer steps than segments.

    >>> allotted(torch.tensor([1.0, 3.0, 0.0]), 9)
    [2, 6, 1]
    """
    steps = [1] * len(change)
    if total < len(steps):
        raise UserError(f"{total} steps for {len(steps)} segments: each needs one or more; give more")
    amounts = change.tolist()
    crowded = [(-amount, k) for k, amount in enumerate(amounts)]
    heapify(crowded)
    for _ in range(total - len(steps)):
        _, k = crowded[0]
        steps[k] += 1
        heapreplace(crowded, (-amounts[k] / steps[k], k))
    return steps
