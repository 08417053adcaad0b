"""What is measured of a walk: how well it stays among pictures, how evenly it moves, how a loop closes."""

import hashlib
import math
from typing import NamedTuple

import torch
from torch import Tensor

from data.transforms import to_uint8
from vae.generator import Generator
from vae.latent.pace import evenly_changing
from vae.latent.route import APART
from vae.latent.timing import stepped
from vae.latent.trajectory import Trajectory, visible_change_of_segments
from vae.metrics.perceptual import visible_change
from vae.metrics.smoothness import decode, smoothness

_FRAMES = 16


class Report(NamedTuple):
    """Numbers of one walk, means over its segments of 16 frames each; segments between like keyframes do not count.

    A number is nan where there is nothing to measure; the first two are for a model without an encoder.

    Attributes:
        cycle: see `vae.metrics.smoothness.Smoothness`; like the next three.
        off_manifold: over the reconstruction error of the keyframes' pictures.
        sharp_mid: over the sharpness of the keyframes' pictures.
        jump: largest over mean step, in pixels.
        step: the same in visible change, see `vae.metrics.perceptual.pyramid`.
        detour: the visible change on the way over that between the ends; 1 is a cross-fade.
    """

    cycle: float
    off_manifold: float
    sharp_mid: float
    jump: float
    step: float
    detour: float


@torch.no_grad()
def report(vae: Generator, walk: Trajectory, pace: str, pictures: Tensor | None = None) -> Report:
    """Measures a walk at the times of the pace, without easing.

    Args:
        vae: in eval mode.
        walk: along any path.
        pace: image or latent, see `vae.render.options.Motion`.
        pictures: (S + 1, C, H, W), the pictures that the keyframes should be; null is what they are decoded to.
    """
    t = stepped([_FRAMES - 1] * walk.segments)
    if pace == "image":
        t = evenly_changing(t, visible_change_of_segments(vae, walk))
    z = walk.at(t)
    keyframes = z[:: _FRAMES - 1]
    apart = keyframes.diff(dim=0).norm(dim=1) > APART
    if not apart.any():
        return Report(*[math.nan] * len(Report._fields))
    paths = z.unfold(0, _FRAMES, _FRAMES - 1).transpose(1, 2)
    at_keyframes = decode(vae, keyframes) if pictures is None else pictures
    ends = torch.stack([at_keyframes[:-1], at_keyframes[1:]], 1)
    found = smoothness(vae, paths[apart], ends[apart])
    steps = visible_change(vae, z).reshape(walk.segments, -1)[apart]
    direct = visible_change(vae, keyframes)[apart]
    unevenness = (steps.amax(1) / steps.mean(1).clamp_min(1e-12)).mean()
    detour = (steps.sum(1) / direct.clamp_min(1e-12)).mean()
    return Report(*(float(number) for number in (*found, unevenness, detour)))


class Seam(NamedTuple):
    """How a loop closes.

    Attributes:
        step: the visible step from the last frame to the first, over the median of the steps that are not 0.
        repeated: how many frames are like one before them, those not counted that rest on a keyframe.
    """

    step: float
    repeated: int


@torch.no_grad()
def seam(vae: Generator, walk: Trajectory, t: Tensor) -> Seam:
    """Looks at the frames of a closed walk at times t (T,)."""
    z = walk.at(torch.unique_consecutive(t))
    steps = visible_change(vae, torch.cat([z, z[:1]]))
    batches = (to_uint8(decode(vae, some)).cpu().numpy() for some in torch.split(z, 64))
    seen = {hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for batch in batches for frame in batch}
    moving = steps[steps > 0]
    return Seam(float(steps[-1] / moving.median()) if len(moving) else 0.0, len(z) - len(seen))


def table(reports: dict[str, Report]) -> str:
    """The numbers as text, a row for each walk."""
    rows: list[tuple[str, ...]] = [("path", *Report._fields)]
    rows += [(name, *("–" if math.isnan(n) else f"{n:.3f}" for n in found)) for name, found in reports.items()]
    widest = max(len(row[0]) for row in rows)
    return "\n".join(f"{row[0]:<{widest}}" + "".join(f" {cell:>13}" for cell in row[1:]) for row in rows)
