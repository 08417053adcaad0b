"""The times of a film's frames, by its options: so many, so many seconds, by visible change, or by a sound."""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError
from data.system.spelling import counted
from vae.inference import BATCH
from vae.latent.onsets import speed_of_sound
from vae.latent.rhythm import times_by_speed
from vae.latent.timing import (
    EASINGS,
    apportion,
    arc_length_per_segment,
    equal_steps,
    mean_shares,
    steps_for_durations,
    times_for_steps,
)
from vae.latent.trajectory import visible_change_per_stretch
from vae.render.clips import Clip
from vae.render.formats.frame import frame_rate
from vae.render.formats.sound import RATE
from vae.render.options import DEFAULT_FRAMES, MotionOptions

_ROUND = 3.0  # s with a sound, for each keyframe of a loop
DEFAULT_EASINGS = {True: "linear", False: "ease-in-out"}  # of closed and open trajectories


def check_stretches(motion: MotionOptions, segments: int, closed: bool) -> None:
    """Raises `UserError` unless each segment has a duration, or none has, and each keyframe can have a frame."""
    if len(motion.durations) not in (0, segments):
        raise UserError(
            f"--durations: {len(motion.durations)} given, and the path has {counted(segments, 'segment')} between "
            "keyframes; give the seconds of each"
        )
    if motion.frames is not None:
        equal_steps(segments, motion.frames, closed)
    if motion.audio:
        frames = round(motion.audio.seconds * frame_rate(motion.fps))
        if frames < (keyframes := segments + (not closed)):
            fault = f"is {counted(frames, 'frame')} long, too few to show {keyframes} keyframes"
            raise UserError(f"--audio {motion.audio.file}: {fault}; give a longer one, or more --fps")


def frame_times(
    clips: Sequence[Clip], motion: MotionOptions, steps: int | None = None
) -> tuple[list[Tensor], list[Tensor | None]]:
    """The times (T,) of the frames of clips with equally many segments, which reach their keyframes together.

    Where no durations are given, the segments have equally many frames, or by `--pace image` as many as is their share
    of the visible change. The easing maps the share of a segment's frames that have passed to a share of its time, or
    of its visible change. A sound says all that instead, see `vae.latent.rhythm`.

    Args:
        clips: that are shown side by side.
        motion: the options.
        steps: of the whole film, if not `--frames` says how many.

    Returns:
        the times of each clip; its `visible_change_per_stretch`, which `--pace image` measures, or None.
    """
    segments, closed = clips[0].trajectory.segments, clips[0].trajectory.closed
    even = motion.pace == "latent"
    if motion.audio:
        speed = speed_of_sound(motion.audio.samples, RATE, float(frame_rate(motion.fps)))
        rounds = max(1, round(motion.audio.seconds / (_ROUND * segments)))
        if closed and rounds > 1:
            print(f"rounds: {rounds}, about {_ROUND:g} s for each keyframe")
        if even:
            t = times_by_speed(speed, torch.full((segments,), 1 / segments), closed, rounds)
            return [t] * len(clips), [None] * len(clips)
        changes = list(map(_changes, clips))
        t = times_by_speed(speed, mean_shares(changes), closed, rounds)
        return [arc_length_per_segment(t, change) for change in changes], [*changes]
    easing = motion.easing or EASINGS[DEFAULT_EASINGS[closed]]
    if motion.durations:
        segment_steps = steps_for_durations(motion.durations, motion.fps)
    elif steps is None:
        segment_steps = equal_steps(segments, motion.frames or DEFAULT_FRAMES, closed)
    else:
        segment_steps = apportion(torch.ones(segments), steps)
    if even:
        return [times_for_steps(segment_steps, easing, closed, motion.hold)] * len(clips), [None] * len(clips)
    changes = list(map(_changes, clips))
    if not motion.durations:
        segment_steps = apportion(mean_shares(changes), sum(segment_steps))
    t = times_for_steps(segment_steps, easing, closed, motion.hold)
    return [arc_length_per_segment(t, change) for change in changes], [*changes]


def paced_by_change(clip: Clip, t: Tensor) -> Tensor:
    """The times (T,) at which the shares of each segment's visible change have passed that t are of its time."""
    return arc_length_per_segment(t, _changes(clip))


def _changes(clip: Clip) -> Tensor:
    return visible_change_per_stretch(drawn_with_bar(clip, "Measuring the change"), clip.trajectory.segments)


def drawn_with_bar(clip: Clip, text: str) -> Callable[[Tensor], Iterable[Tensor]]:
    """`Clip.draw`, whose batches a progress bar with a text shows."""
    return lambda t: tqdm(clip.draw(t), text, math.ceil(len(t) / BATCH), leave=False, delay=1)
