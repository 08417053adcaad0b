"""A live chart below pictures: how fast they change and how sharp they are, with a mark at the present frame."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vae.latent.paths import locate
from vae.render.formats.frame import Frame

# colour-blind safe (Okabe and Ito 2008)
INKS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (90, 90, 90))
_PAPER, _GREY = (255, 255, 255), (150, 150, 150)


class Curves(NamedTuple):
    """What is drawn of one walk.

    Attributes:
        speed: (T,) visible change to the next frame, 0 or more.
        sharpness: (T,) over that of the keyframes; 1 is as sharp.
    """

    speed: Tensor
    sharpness: Tensor


def live_chart(curves: Sequence[Curves], width: int) -> Callable[[int], Frame]:
    """A chart of all curves, in the order of `INKS`: frame index → (H, width, 3).

    Args:
        curves: of equally many frames.
        width: in pixels.
    """
    count, height = len(curves[0].speed), max(48, width // 8)
    font = ImageFont.load_default(max(10, height // 6))
    fastest = max(float(curve.speed.max()) for curve in curves) or 1.0
    sharpest = max(1.1, *(float(curve.sharpness.max()) for curve in curves))
    panels = [
        ("visible speed", fastest, [curve.speed for curve in curves]),
        ("sharpness", sharpest, [curve.sharpness for curve in curves]),
    ]
    chart = Image.new("RGB", (width, 2 * height), _PAPER)
    draw = ImageDraw.Draw(chart)
    places = np.linspace(1, width - 2, count) if count > 1 else np.array([width / 2])
    for index, (title, top, values) in enumerate(panels):
        floor = (index + 1) * height - 2
        draw.line([(0, floor), (width, floor)], _GREY)
        if title == "sharpness":
            at_one = floor - (height - 4) / top
            draw.line([(0, at_one), (width, at_one)], (220, 220, 220))
        for ink, value in zip(inks(len(values)), values, strict=True):
            heights = floor - (height - 4) * value.clamp(0, top).double().numpy() / top
            draw.line(list(zip(places.tolist(), heights.tolist(), strict=True)), ink, 2, joint="curve")
        draw.text((3, index * height + 1), title, _GREY, font)
    still = np.asarray(chart)

    def at(index: int) -> Frame:
        marked = still.copy()
        marked[:, int(places[index])] = _GREY
        return marked

    return at


def inks(count: int) -> list[tuple[int, int, int]]:
    """So many colours; after seven they come again."""
    return [INKS[index % len(INKS)] for index in range(count)]


def over_keyframes(sharp: Tensor, t: Tensor, at_keyframes: Tensor) -> Tensor:
    """Sharpness (T,) at times t (T,) over the mix of that of the keyframes (S + 1,)."""
    segment, passed = locate(t, len(at_keyframes) - 1)
    expected = torch.lerp(at_keyframes[segment].double(), at_keyframes[segment + 1].double(), passed)
    return sharp / expected.clamp_min(1e-12)
