"""The times of the frames: easing curves, and the pace of visible change. They know nothing of latents.

A timeline gives each frame its time t on a path that reaches keyframe k at t = k. An easing maps [0, 1] to [0, 1]
inside each segment and never falls, so that keyframes keep their times and no frame is shown twice.
"""

import math
import re
from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from itertools import accumulate

import torch
from torch import Tensor

from data.system.errors import UserError, check_at_least
from data.system.spelling import suggest
from vae.latent.paths import locate

Easing = Callable[[Tensor], Tensor]
_LONGEST = 3600.0  # seconds of a stretch


def cubic_bezier(x1: float, y1: float, x2: float, y2: float) -> Easing:
    """The curve from (0, 0) to (1, 1) with control points (x1, y1) and (x2, y2): CSS Easing Functions, section 2.2.

    Both coordinates are B(s; p, q) = 3(1−s)²s p + 3(1−s)s² q + s³. The eased value at time t is y(s) where x(s) = t,
    which bisection finds to float64's precision, for x(s) never falls when x1 and x2 are in [0, 1].

    Raises:
        UserError: a coordinate outside [0, 1]; y may not leave it either, lest a frame lie beyond its segment.
    """
    if not all(0 <= p <= 1 for p in (x1, y1, x2, y2)):
        raise UserError(f"cubic-bezier({x1:g},{y1:g},{x2:g},{y2:g}): all four numbers must be in [0, 1]")

    def bezier(s: Tensor, p: float, q: float) -> Tensor:
        return 3 * (1 - s) ** 2 * s * p + 3 * (1 - s) * s**2 * q + s**3

    def ease(t: Tensor) -> Tensor:
        low, high = torch.zeros_like(t), torch.ones_like(t)
        for _ in range(60):
            middle = (low + high) / 2
            before = bezier(middle, x1, x2) < t
            low, high = torch.where(before, middle, low), torch.where(before, high, middle)
        exact = (t == 0) | (t == 1)
        return torch.where(exact, t, bezier((low + high) / 2, y1, y2))

    return ease


EASINGS: dict[str, Easing] = {
    "linear": lambda t: t,
    "ease": cubic_bezier(0.25, 0.1, 0.25, 1.0),
    "ease-in": cubic_bezier(0.42, 0.0, 1.0, 1.0),
    "ease-out": cubic_bezier(0.0, 0.0, 0.58, 1.0),
    "ease-in-out": cubic_bezier(0.42, 0.0, 0.58, 1.0),
    "cubic-in-out": lambda t: torch.where(t < 0.5, 4 * t**3, 1 - (2 - 2 * t) ** 3 / 2),
}


def parse_easing(name: str) -> Easing:
    """The easing of a name in `EASINGS`, or cubic-bezier(a,b,c,d). Raises `UserError` if there is none."""
    if name in EASINGS:
        return EASINGS[name]
    number = r"\s*(-?\d*\.?\d+)\s*"
    if match := re.fullmatch(rf"\s*cubic-bezier\({','.join([number] * 4)}\)\s*", name):
        return cubic_bezier(*map(float, match.groups()))
    raise UserError(f"easing {name!r}: no such curve; {suggest(name, (*EASINGS, 'cubic-bezier(a,b,c,d)'))}")


def times(
    segments: int, frames: int, easing: Easing = EASINGS["linear"], closed: bool = False, hold: int = 0
) -> Tensor:
    """The frames' times (T,) on `segments` stretches between keyframes, float64, ascending from 0.

    Open: each segment has `frames` frames, two or more, counting both its keyframes, and neighbours share one, which
    makes segments · (frames − 1) + 1. Closed: each keyframe begins a segment of `frames` frames, which makes
    segments · frames; the path's end is its beginning and has no frame of its own. `hold` more rest on each keyframe.

    Raises:
        UserError: too few frames or segments.

    >>> times(1, 3).tolist(), times(2, 2, closed=True).tolist()
    ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.5])
    """
    return times_for_steps(equal_steps(segments, frames, closed), easing, closed, hold)


def equal_steps(segments: int, frames: int, closed: bool) -> list[int]:
    """The steps of each segment, as many as the frames of `times` make. Raises `UserError` if there are too few."""
    check_at_least(1, "segments", segments)
    check_at_least(1 if closed else 2, "frames", frames)
    return [frames if closed else frames - 1] * segments


def parse_durations(words: Sequence[str]) -> tuple[float, ...]:
    """Seconds, from 0 to 3600 each but more than 0. Raises `UserError` for a word that is none."""
    for word in words:
        if not re.fullmatch(r"\d*\.?\d+|\d+\.", word) or not 0 < float(word) <= _LONGEST:
            raise UserError(f"durations {word!r}: must be seconds, more than 0 and at most {_LONGEST:g}")
    return tuple(map(float, words))


def steps_for_durations(durations: Sequence[float], fps: float) -> list[int]:
    """The steps of segments that last so many seconds: the k-th ends after round(fps · Σ_{j ≤ k} durations) steps.

    So what is rounded in one is made up for in the next. Each has one step at least.

    >>> steps_for_durations([0.25, 0.25, 0.25, 0.25], 10), steps_for_durations([0.01, 1], 10)
    ([3, 2, 3, 2], [1, 9])
    """
    steps: list[int] = []
    for end in accumulate(durations):
        steps.append(max(1, math.floor(fps * end + 0.5) - sum(steps)))
    return steps


def times_for_steps(
    steps: Sequence[int], easing: Easing = EASINGS["linear"], closed: bool = False, hold: int = 0
) -> Tensor:
    """The times of frames that reach each keyframe after a given number of steps, one or more.

    >>> times_for_steps([1, 2], hold=1).tolist()
    [0.0, 0.0, 1.0, 1.0, 1.5, 2.0, 2.0]
    """
    rest = torch.zeros(hold, dtype=torch.float64)
    eased = {n: torch.cat([rest, easing(torch.arange(n, dtype=torch.float64) / n)]) for n in set(steps)}
    parts = [eased[n] + k for k, n in enumerate(steps)]
    return torch.cat([*parts, *([] if closed else [torch.zeros(1 + hold, dtype=torch.float64) + len(steps)])])


def arc_length_times(t: Tensor, change: Tensor, share: Tensor) -> Tensor:
    """The times (T,) at which shares (T,) of all visible change have passed: arc length in decoded space, inverted.

    The path was decoded at ascending times t (M,) and changed by (M − 1,) from one to the next, 0 or more. Equal shares
    make equal steps of change. Where nothing changes, time passes evenly.

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
    """Times (T,) moved within their segments: the same share of its visible change has passed as before of its time.

    The change is (S, M), of M equal stretches of each segment. Whole times stay as they are.
    """
    segments, stretches = change.shape
    places = torch.linspace(0, 1, stretches + 1, dtype=torch.float64)
    segment, passed = locate(t, segments)
    paced = t.to(torch.float64).clone()
    for k in range(segments):
        mine = segment == k
        paced[mine] = k + arc_length_times(places, change[k], passed[mine])
    return paced


def mean_shares(changes: Sequence[Tensor]) -> Tensor:
    """The share (S,) that each segment has of the visible change (S, M) of a path, averaged over several paths."""
    return torch.stack([change.sum(1) / change.sum().clamp_min(1e-12) for change in changes]).mean(0)


def apportion(change: Tensor, total: int) -> list[int]:
    """Numbers of steps for segments in proportion to their visible change (S,): the largest step is as small as can be.

    Each segment gets one, and the others go one by one to the segment with the largest steps: Jefferson's method of
    apportionment (Balinski and Young, *Fair Representation*, 1982).

    >>> apportion(torch.tensor([1.0, 3.0, 0.0]), 9)
    [2, 6, 1]
    """
    amounts, steps = change.tolist(), [1] * len(change)
    by_step = [(-amount, k) for k, amount in enumerate(amounts)]
    heapify(by_step)
    for _ in range(total - len(steps)):
        _, k = by_step[0]
        steps[k] += 1
        heapreplace(by_step, (-amounts[k] / steps[k], k))
    return steps
