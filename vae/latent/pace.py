"""Timing by visible change: the arc length of the decoded path instead of time on it."""

from collections.abc import Sequence
from heapq import heapify, heapreplace

import torch
from torch import Tensor

from data.system.errors import UserError
from vae.latent.paths import locate
from vae.latent.timing import EASINGS, Easing, times, times_for_steps


def arc_length_times(t: Tensor, change: Tensor, share: Tensor) -> Tensor:
    """The times at which given shares of all visible change have passed: the arc length in decoded space, inverted.

    Args:
        t: (M,) ascending times at which a path was decoded.
        change: (M − 1,) how much the picture changed from one to the next, 0 or more.
        share: (T,) in [0, 1].

    Returns:
        (T,) times, float64; equal shares make equal steps of change. Where nothing changes, time passes evenly.

    >>> t, change, share = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, 1.0]), torch.tensor([0.0, 0.5, 1.0])
    >>> arc_length_times(t, change, share).tolist()
    [0.0, 0.6666666666666666, 2.0]
    """
    t, change = t.to(torch.float64), change.to(torch.float64)
    change = change.clamp_min(max(1e-9 * float(change.sum()), 1e-300))  # so that every share has one time
    passed = torch.cat([change.new_zeros(1), change.cumsum(0)])
    target = share.to(torch.float64) * passed[-1]
    after = torch.searchsorted(passed, target).clamp(1, len(change))
    within = ((target - passed[after - 1]) / change[after - 1]).clamp(0, 1)
    return torch.lerp(t[after - 1], t[after], within)


def arc_length_per_segment(t: Tensor, change: Tensor) -> Tensor:
    """Times moved within their segments: the same share of its visible change has passed as before of its duration.

    Args:
        t: (T,), in [0, S].
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
        paced[mine] = k + arc_length_times(places, change[k], passed[mine])
    return paced


def synchronized_times(
    changes: Sequence[Tensor], frames: int, easing: Easing = EASINGS["linear"], closed: bool = False, hold: int = 0
) -> list[Tensor]:
    """The frames' times on paths that are shown side by side, in equal steps of visible change.

    Each segment gets frames in proportion to its visible change, averaged over the paths; the easing maps the share of
    its frames that have passed to a share of that change. All paths reach keyframe k in the same frame.

    Args:
        changes: of each path, (S, M), see `arc_length_per_segment`.
        frames: per segment as for `times`, on average.
        easing: applied inside each segment.
        closed: whether the paths return to their beginnings.
        hold: how many more frames rest on each keyframe.

    Returns:
        (T,) times for each path, T as for `times` and `hold` more for each keyframe.

    Raises:
        UserError: too few frames.
    """
    total = len(times(len(changes[0]), frames, closed=closed)) - (not closed)
    shares = torch.stack([change.sum(1) / change.sum().clamp_min(1e-12) for change in changes]).mean(0)
    t = times_for_steps(apportion(shares, total), easing, closed, hold)
    return [arc_length_per_segment(t, change) for change in changes]


def apportion(change: Tensor, total: int) -> list[int]:
    """Numbers of steps for segments, in proportion to their visible change: the largest step is as small as can be.

    Each segment gets one, and the others go one by one to the segment with the largest steps: Jefferson's method of
    apportionment (Balinski and Young, *Fair Representation*, 1982).

    Args:
        change: (S,) visible change of each segment, 0 or more.
        total: of all steps, S or more.

    Raises:
        UserError: fewer steps than segments.

    >>> apportion(torch.tensor([1.0, 3.0, 0.0]), 9)
    [2, 6, 1]
    """
    steps = [1] * len(change)
    if total < len(steps):
        raise UserError(f"{total} steps for {len(steps)} segments: each needs one or more; give more")
    amounts = change.tolist()
    by_step = [(-amount, k) for k, amount in enumerate(amounts)]
    heapify(by_step)
    for _ in range(total - len(steps)):
        _, k = by_step[0]
        steps[k] += 1
        heapreplace(by_step, (-amounts[k] / steps[k], k))
    return steps
