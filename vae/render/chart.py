"""A chart of a comparison: the speed and the sharpness of each clip over time, with a mark at the present frame."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vae.latent.paths import locate
from vae.render.formats.frame import Frame

# safe for the colour-blind (Okabe and Ito 2008)
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (90, 90, 90))
_PAPER, _GREY, _LIGHT_GREY = (255, 255, 255), (150, 150, 150), (220, 220, 220)


class Curves(NamedTuple):
    """The curves of one clip.

    Attributes:
        speed: (T,) visible change to the next frame, 0 or more.
        sharpness: (T,) relative to that of the keyframes; 1 is as sharp.
    """

    speed: Tensor
    sharpness: Tensor


def live_chart(curves: Sequence[Curves], width: int) -> Callable[[int], Frame]:
    """The function that draws the chart for a frame's index: index → (H, width, 3).

    Args:
        curves: of each clip, with the same number of frames; they have the colours of `curve_colours`.
        width: in pixels.
    """
    count, height = len(curves[0].speed), max(48, width // 8)
    font = ImageFont.load_default(max(10, height // 6))
    highest_speed = max(float(curve.speed.max()) for curve in curves) or 1.0
    highest_sharpness = max(1.1, *(float(curve.sharpness.max()) for curve in curves))
    panels = [
        ("visible speed", highest_speed, [curve.speed for curve in curves]),
        ("sharpness", highest_sharpness, [curve.sharpness for curve in curves]),
    ]
    chart = Image.new("RGB", (width, 2 * height), _PAPER)
    draw = ImageDraw.Draw(chart)
    columns = np.linspace(1, width - 2, count) if count > 1 else np.array([width / 2])
    for index, (title, top, values) in enumerate(panels):
        floor = (index + 1) * height - 2
        draw.line([(0, floor), (width, floor)], _GREY)
        if title == "sharpness":
            at_one = floor - (height - 4) / top
            draw.line([(0, at_one), (width, at_one)], _LIGHT_GREY)
        for colour, value in zip(curve_colours(len(values)), values, strict=True):
            heights = floor - (height - 4) * value.clamp(0, top).double().numpy() / top
            draw.line(list(zip(columns.tolist(), heights.tolist(), strict=True)), colour, 2, joint="curve")
        draw.text((3, index * height + 1), title, _GREY, font)
    unmarked = np.asarray(chart)

    def draw_frame(index: int) -> Frame:
        marked = unmarked.copy()
        marked[:, int(columns[index])] = _GREY
        return marked

    return draw_frame


def curve_colours(count: int) -> list[tuple[int, int, int]]:
    """So many colours; after seven they repeat."""
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def relative_sharpness(sharpness: Tensor, t: Tensor, at_keyframes: Tensor) -> Tensor:
    """The sharpness of frames relative to that of the keyframes, linearly interpolated.

    Args:
        sharpness: (T,) of the frames.
        t: (T,) their times in [0, S].
        at_keyframes: (S + 1,) that of the keyframes.

    Returns:
        (T,), 1 where a frame is as sharp.
    """
    segment, passed = locate(t, len(at_keyframes) - 1)
    expected = torch.lerp(at_keyframes[segment].double(), at_keyframes[segment + 1].double(), passed)
    return sharpness / expected.clamp_min(1e-12)
