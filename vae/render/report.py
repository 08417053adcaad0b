"""Measurements of clips: how well a path stays among pictures, how evenly it moves, how a loop closes."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data.system.files import save_bytes
from vae.inference import BATCH, decode_all
from vae.latent.route import MIN_DISTANCE
from vae.latent.timing import arc_length_per_segment, times_for_steps
from vae.metrics.judge import Realism
from vae.metrics.perceptual import pyramid
from vae.metrics.smoothness import smoothness_of_frames
from vae.render.clips import Clip
from vae.render.frames import FrameMeter
from vae.render.options import RenderRequest
from vae.tuning.pivotal import psnr

_FRAMES = 16
_RESULTS = ("out", "report", "save_latents")  # options that change no number


class PathNumbers(NamedTuple):
    """Numbers of one path, means over its segments of 16 frames each; segments between like keyframes do not count.

    A number is nan where there is nothing to measure, as `cycle` and `off_manifold` of a model without an encoder.

    Attributes:
        cycle: like `off_manifold`, `sharp_mid` and `jump` a number of `vae.metrics.smoothness.Smoothness`.
        off_manifold: over the reconstruction error of the keyframes' pictures.
        sharp_mid: over the sharpness of the keyframes' pictures.
        jump: largest over mean step, in pixels.
        step: the same in visible change, see `vae.metrics.perceptual.pyramid`.
        detour: the visible change on the way over that between the ends; 1 is a cross-fade.
        end_psnr: how exactly the decoder draws the keyframes' pictures, in dB; nan if no keyframe has one.
    """

    cycle: float
    off_manifold: float
    sharp_mid: float
    jump: float
    step: float
    detour: float
    end_psnr: float


@torch.no_grad()
def measure_path(clip: Clip, change: Tensor | None = None) -> PathNumbers:
    """The numbers of a clip's path at times of its own, whatever the number of frames and the easing of an animation.

    Its ends are compared with the keyframes' pictures, where they have some, otherwise with the decoded keyframes.
    With a change (S, M), see `visible_change_per_stretch`, the 16 frames of a segment are equal steps of visible
    change, otherwise of time.
    """
    segments, last = clip.trajectory.segments, _FRAMES - 1
    t = times_for_steps([last] * segments)
    if change is not None:
        t = arc_length_per_segment(t, change)
    z = clip.trajectory.at(t)
    apart = z[::last].diff(dim=0).norm(dim=1) > MIN_DISTANCE
    if not apart.any():
        return PathNumbers(*[math.nan] * len(PathNumbers._fields))
    x = torch.cat([batch.to(clip.model.device) for batch in clip.draw(t)])
    points = torch.cat([pyramid(batch) for batch in torch.split(x, BATCH)])
    steps = points.diff(dim=0).norm(dim=1).cpu().reshape(segments, last)[apart]
    direct = points[::last].diff(dim=0).norm(dim=1).cpu()[apart]

    drawn = x[::last] if clip.metamorphosis is None else decode_all(clip.model, z[::last])
    pictures = drawn.clone()
    given = []
    for k, keyframe in enumerate(clip.keyframes):
        if keyframe.picture is not None:
            pictures[k] = keyframe.picture.to(x.device)
            given.append(k)
    rows = (torch.arange(segments)[:, None] * last + torch.arange(_FRAMES))[apart]
    ends = torch.stack([pictures[:-1], pictures[1:]], 1)[apart.to(x.device)]
    measured = smoothness_of_frames(clip.model, z[rows], x[rows.to(x.device)], ends)._asdict()
    measured["step"] = (steps.amax(1) / steps.mean(1).clamp_min(1e-12)).mean()
    measured["detour"] = (steps.sum(1) / direct.clamp_min(1e-12)).mean()
    measured["end_psnr"] = psnr(drawn[given], pictures[given]).mean()
    return PathNumbers(**{name: float(measured[name]) for name in PathNumbers._fields})


class Seam(NamedTuple):
    """The place where a loop closes.

    Attributes:
        step: the visible step from the last frame to the first, over the median of the steps that are not 0.
        repeated: how many frames are like one before them, those not counted that rest on a keyframe.
    """

    step: float
    repeated: int


def measure_seam(meter: FrameMeter) -> Seam:
    """The seam of a loop whose frames a meter saw, all of them, before any is left out for `--max-size`."""
    steps = meter.change.compute(closed=True)
    moving = steps[steps > 0]
    return Seam(float(steps[-1] / moving.median()) if len(moving) else 0.0, len(steps) - meter.distinct)


def table(numbers: Mapping[str, PathNumbers]) -> str:
    """The numbers as text, a row for each path."""
    rows: list[tuple[str, ...]] = [("path", *PathNumbers._fields)]
    rows += [(name, *("–" if math.isnan(n) else f"{n:.3f}" for n in found)) for name, found in numbers.items()]
    widest = max(len(row[0]) for row in rows)
    return "\n".join(f"{row[0]:<{widest}}" + "".join(f" {cell:>13}" for cell in row[1:]) for row in rows)


def save_report(
    path: Path,
    request: RenderRequest,
    header: Mapping[str, Any],
    clips: Mapping[str, Clip],
    numbers: Mapping[str, PathNumbers],
    seams: Sequence[Seam],
    judged: Mapping[str, Realism],
) -> None:
    """Writes JSON: the command, its options and the numbers, which are null where there is nothing to measure."""

    def finite(record: PathNumbers | Seam | Realism) -> dict[str, float | None]:
        return {key: number if math.isfinite(number) else None for key, number in record._asdict().items()}

    bent = {name: clip.trajectory.bent for name, clip in clips.items()}
    content = {
        "command": request.command,
        **header,
        "trajectories": {name: finite(record) for name, record in numbers.items()},
        "bent": {name: segments.tolist() for name, segments in bent.items() if segments is not None},
        "seams": [finite(seam) for seam in seams],
        **({"judged": {name: finite(record) for name, record in judged.items()}} if judged else {}),
        "options": {name: value for name, value in request.arguments.items() if name not in _RESULTS},
    }
    save_bytes((json.dumps(content, indent=2) + "\n").encode(), path)
