"""A chart of a comparison: speed, sharpness and realism of each clip over time, with a mark at the present frame."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vae.latent.paths import locate
from vae.metrics.judge import Judged
from vae.metrics.smoothness import gradient_energy
from vae.render.clips import Clip
from vae.render.formats.frame import Frame
from vae.render.frames import FrameMeter

# safe for the colour-blind (Okabe and Ito 2008)
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (90, 90, 90))
_PAPER, _GREY, _LIGHT_GREY = (255, 255, 255), (150, 150, 150), (220, 220, 220)


class Curves(NamedTuple):
    """The curves of one clip, (T,) each: the visible change to the next frame, and sharpness over the keyframes'.

    If the film was judged, also what frames contribute to its KID.
    """

    speed: Tensor
    sharpness: Tensor
    kid: Tensor | None = None


def measure_curves(clip: Clip, t: Tensor, meter: FrameMeter, judged: Judged | None = None) -> Curves:
    """The curves of a clip's frames at times (T,); a meter saw each of them once, however long it rests.

    The sharpness of the keyframes is linearly interpolated between them.
    """
    _, index = torch.unique_consecutive(t, return_inverse=True)
    change, energy = meter.change.compute(), meter.energy[index]
    speed = change[index[:-1].clamp_max(len(change) - 1)] * index.diff()
    at_keyframes = [
        energy[(t - k).abs().argmin()] if keyframe.picture is None else gradient_energy(keyframe.picture)
        for k, keyframe in enumerate(clip.keyframes)
    ]
    segment, passed = locate(t, clip.trajectory.segments)
    start, end = torch.stack(at_keyframes).double()[torch.stack([segment, segment + 1])]
    expected = torch.lerp(start, end, passed)
    kid = None if judged is None else torch.from_numpy(np.interp(t, judged.t, judged.kid))
    return Curves(torch.cat([speed, speed[-1:]]), energy / expected.clamp_min(1e-12), kid)


def live_chart(curves: Sequence[Curves], width: int) -> Callable[[int], Frame]:
    """The function that draws the chart of clips for a frame's index: index → (H, width, 3).

    The clips have the same number of frames, and the colours of `clip_colour`.
    """
    count, height = len(curves[0].speed), max(48, width // 8)
    font = ImageFont.load_default(max(10, height // 6))
    highest_speed = max(float(curve.speed.max()) for curve in curves) or 1.0
    highest_sharpness = max(1.1, *(float(curve.sharpness.max()) for curve in curves))
    panels = [
        ("visible speed", highest_speed, [curve.speed for curve in curves]),
        ("sharpness", highest_sharpness, [curve.sharpness for curve in curves]),
    ]
    if kids := [curve.kid for curve in curves if curve.kid is not None]:
        panels.append(("KID: 0 is as real", max(float(kid.max()) for kid in kids) or 1.0, kids))
    chart = Image.new("RGB", (width, len(panels) * height), _PAPER)
    draw = ImageDraw.Draw(chart)
    columns = np.linspace(1, width - 2, count) if count > 1 else np.array([width / 2])
    for panel, (title, top, values) in enumerate(panels):
        floor = (panel + 1) * height - 2
        draw.line([(0, floor), (width, floor)], _GREY)
        if title == "sharpness":
            at_one = floor - (height - 4) / top
            draw.line([(0, at_one), (width, at_one)], _LIGHT_GREY)
        for clip, value in enumerate(values):
            heights = floor - (height - 4) * value.clamp(0, top).double().numpy() / top
            draw.line(list(zip(columns.tolist(), heights.tolist(), strict=True)), clip_colour(clip), 2, joint="curve")
        draw.text((3, panel * height + 1), title, _GREY, font)
    unmarked = np.asarray(chart)

    def draw_frame(index: int) -> Frame:
        marked = unmarked.copy()
        marked[:, int(columns[index])] = _GREY
        return marked

    return draw_frame


def clip_colour(index: int) -> tuple[int, int, int]:
    """The colour of a clip; after seven they repeat."""
    return COLOURS[index % len(COLOURS)]
