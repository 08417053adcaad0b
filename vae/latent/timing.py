"""The times of the frames, and easing curves. They know nothing of latents.

A timeline gives each frame its time t on a path that reaches keyframe k at t = k. An easing maps [0, 1] to [0, 1]
inside each segment and never falls, so that keyframes keep their times and no frame is shown twice.
"""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from data.system.errors import UserError, check_at_least
from data.system.spelling import suggest

Easing = Callable[[Tensor], Tensor]


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


def _cubic_in_out(t: Tensor) -> Tensor:
    return torch.where(t < 0.5, 4 * t**3, 1 - (2 - 2 * t) ** 3 / 2)


EASINGS: dict[str, Easing] = {
    "linear": lambda t: t,
    "ease": cubic_bezier(0.25, 0.1, 0.25, 1.0),
    "ease-in": cubic_bezier(0.42, 0.0, 1.0, 1.0),
    "ease-out": cubic_bezier(0.0, 0.0, 0.58, 1.0),
    "ease-in-out": cubic_bezier(0.42, 0.0, 0.58, 1.0),
    "cubic-in-out": _cubic_in_out,
}


def parse_easing(name: str) -> Easing:
    """The easing of that name: linear, ease, ease-in, ease-out, ease-in-out (CSS), cubic-in-out, cubic-bezier(a,b,c,d).

    Raises:
        UserError: no such easing.
    """
    if name in EASINGS:
        return EASINGS[name]
    match = re.fullmatch(r"cubic-bezier\(([^,]+),([^,]+),([^,]+),([^,]+)\)", name.strip())
    try:
        if match:
            return cubic_bezier(*(float(number) for number in match.groups()))
    except UserError:
        raise
    except ValueError:
        pass
    raise UserError(f"easing {name!r}: no such curve; {suggest(name, (*EASINGS, 'cubic-bezier(a,b,c,d)'))}")


def times(
    segments: int, frames: int, easing: Easing = EASINGS["linear"], closed: bool = False, hold: int = 0
) -> Tensor:
    """The frames' times.

    Open: each segment has `frames` frames, counting both its keyframes, and neighbours share one, which makes
    segments · (frames − 1) + 1. Closed: each keyframe begins a segment of `frames` frames, which makes
    segments · frames; the path's end is its beginning and has no frame of its own.

    Args:
        segments: stretches between keyframes, K − 1 for an open path and K for a closed one.
        frames: per segment; two or more where open, one or more where closed.
        easing: applied inside each segment.
        closed: whether the path returns to its beginning.
        hold: how many more frames rest on each keyframe.

    Returns:
        (T,) float64, ascending from 0 to `segments`, which a closed timeline does not reach.

    Raises:
        UserError: too few frames or segments.

    >>> times(1, 3).tolist(), times(2, 2, closed=True).tolist()
    ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.5])
    """
    least = 1 if closed else 2
    check_at_least(1, "segments", segments)
    check_at_least(least, "frames", frames)
    return times_for_steps([frames if closed else frames - 1] * segments, easing, closed, hold)


def times_for_steps(
    steps: Sequence[int], easing: Easing = EASINGS["linear"], closed: bool = False, hold: int = 0
) -> Tensor:
    """The times of frames that reach each keyframe after a given number of steps.

    Args:
        steps: of each segment, one or more.
        easing: applied inside each segment.
        closed: leave out the last time, where the path is back at its beginning.
        hold: how many more frames rest on each keyframe.

    Returns:
        (T,) float64, ascending from 0 to `len(steps)`.

    >>> times_for_steps([1, 2], hold=1).tolist()
    [0.0, 0.0, 1.0, 1.0, 1.5, 2.0, 2.0]
    """
    rest = torch.zeros(hold, dtype=torch.float64)
    eased = {n: torch.cat([rest, easing(torch.arange(n, dtype=torch.float64) / n)]) for n in set(steps)}
    parts = [eased[n] + k for k, n in enumerate(steps)]
    return torch.cat([*parts, *([] if closed else [torch.zeros(1 + hold, dtype=torch.float64) + len(steps)])])
