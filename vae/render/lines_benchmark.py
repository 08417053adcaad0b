"""The LINES benchmark: scores of how well a path between two lines turns the one into the other.

Berthelot, Raffel, Roy and Goodfellow (see `data.synthetic.lines`), section 4.1: 256 pairs of fresh lines, 16 frames a
pair, both ends among them. Of every frame the nearest of 10,000 true lines is found by cosine distance on pixels in
[-1, 1]. The paper's two scores say nothing of the ends and of the sense of rotation, so there are three more.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from data.rng import uniform
from data.synthetic.lines import draw_lines
from data.system.errors import UserError
from data.system.files import user_path
from data.system.program import program_command
from vae.inference import decode_all, encode_means
from vae.latent.paths import BETWEEN_TWO, slerp
from vae.latent.timing import arc_length_times
from vae.model.vae import VAE
from vae.option_groups import Range
from vae.render.options import Device

PAIRS, FRAMES = 256, 16
_ANGLES = 10_000
_PLACES = 65  # on a path, between which the change in pixels is measured


@dataclass(frozen=True)
class LinesOptions:
    """The LINES benchmark.

    Args:
        checkpoint: a .ckpt file, trained on `lines`; null is the included checkpoints/lines.ckpt.
        device: where the model runs: `auto` takes a GPU if there is one, else the CPU.
        seed: names the fresh lines.
        pairs: how many pairs of them.
    """

    checkpoint: Annotated[Path | None, user_path] = None
    device: Device = "auto"
    seed: int = 1
    pairs: Annotated[int, Range(1)] = PAIRS


class LineScores(NamedTuple):
    """Means over the pairs, each (); 0 is best.

    Attributes:
        distance: mean over all frames of the cosine distance to the nearest line: 0 where all are lines.
        smoothness: max_i |Δ_i| / |Σ_i Δ_i| − 1/(N − 1), Δ_i the steps of the nearest line's angle: 0 where it turns
            evenly. A pair that turns by less than 1e-4 counts as 0.
        end_error: degrees between the first and last frames' nearest lines and the true ones.
        long_way: the share of the pairs that turn by the larger of the two angles.
        backtracking: Σ_i |Δ_i| / |Σ_i Δ_i| − 1, capped at 10: 0 where it never turns back.
    """

    distance: Tensor
    smoothness: Tensor
    end_error: Tensor
    long_way: Tensor
    backtracking: Tensor


def random_pairs(seed: int, count: int = PAIRS) -> Tensor:
    """The angles of random pairs of lines, (count, 2) in [0, 2π)."""
    return 2 * math.pi * uniform(seed, torch.arange(count), 2).double()


def line_images(angles: Tensor) -> Tensor:
    """Images (..., 1, 32, 32) in [-1, 1] of lines at angles (...)."""
    return 2 * draw_lines(angles.flatten())[..., 0].reshape(*angles.shape, 1, 32, 32) - 1


def _turn(difference: Tensor) -> Tensor:
    """A difference of angles, the short way round: in [-π, π)."""
    return (difference + math.pi) % (2 * math.pi) - math.pi


@cache
def _references() -> tuple[Tensor, Tensor]:
    """10,000 angles and their lines, flat and of length 1."""
    angles = torch.arange(_ANGLES, dtype=torch.float64) * (2 * math.pi / _ANGLES)
    return angles, normalize(line_images(angles).flatten(1))


def nearest_lines(frames: Tensor) -> tuple[Tensor, Tensor]:
    """The angles (N,), in radians, of the true lines nearest to frames (N, 1, 32, 32), and their distances (N,)."""
    angles, references = _references()
    found = [(batch @ references.T).max(1) for batch in torch.split(normalize(frames.flatten(1)), 1024)]
    distances = (1 - torch.cat([f.values for f in found])).clamp_min(0)
    return angles[torch.cat([f.indices for f in found])], distances


def score(frames: Tensor, angles: Tensor) -> LineScores:
    """Scores paths (P, N, 1, 32, 32) between the lines at angles (P, 2), in radians."""
    count, length = frames.shape[:2]
    flat_angles, distances = nearest_lines(frames.flatten(0, 1).float())
    found = flat_angles.reshape(count, length)
    steps = _turn(found.diff(dim=1))
    total = steps.sum(1).abs()
    turned = total > 1e-4
    share = 1 / total.clamp_min(1e-4)
    smoothness = torch.where(turned, steps.abs().amax(1) * share - 1 / (length - 1), 0)
    backtracking = torch.where(turned, steps.abs().sum(1) * share - 1, 0).clamp(0, 10)
    end_error = _turn(found[:, [0, -1]] - angles).abs().rad2deg()
    long_way = (total > math.pi).double()
    return LineScores(*(each.mean() for each in (distances, smoothness, end_error, long_way, backtracking)))


def control_paths(angles: Tensor) -> dict[str, Tensor]:
    """Paths whose quality is known, to compare scores with: (P, 16, 1, 32, 32) each, for angles (P, 2).

    `rotation` turns the line evenly, the short way; `cross-fade` mixes the two pictures; `hard cut` shows the one for
    the first half and then the other.
    """
    t = torch.linspace(0, 1, FRAMES, dtype=torch.float64)
    start, end = line_images(angles)[:, None].unbind(2)
    mix = t.float()[None, :, None, None, None]
    return {
        "rotation": line_images(angles[:, :1] + _turn(angles[:, 1:] - angles[:, :1]) * t),
        "cross-fade": torch.lerp(start, end, mix),
        "hard cut": torch.where(mix < 0.5, start, end),
    }


@torch.no_grad()
def score_paths(vae: VAE, angles: Tensor) -> dict[str, LineScores]:
    """Scores every path, slerp by equal change in pixels, and then the controls, between lines at angles (P, 2).

    Raises:
        UserError: a model of other pictures.
    """
    if (vae.image_size, vae.channels) != (32, 1):
        raise UserError(
            f"the checkpoint draws {vae.image_size}×{vae.image_size}×{vae.channels} pictures, lines are 32×32×1; "
            f"train one with {program_command('train')} fit --data.source lines"
        )
    ends = encode_means(vae, line_images(angles).flatten(0, 1)).reshape(-1, 2, vae.latent_dim).cpu()
    t, places = (torch.linspace(0, 1, count, dtype=torch.float64) for count in (FRAMES, _PLACES))
    latents = {name: torch.stack([path(pair, t, False) for pair in ends]) for name, path in BETWEEN_TWO.items()}
    changes = (decode_all(vae, slerp(pair, places)).diff(dim=0).flatten(1).norm(dim=1).cpu() for pair in ends)
    even = [slerp(pair, arc_length_times(places, change, t)) for pair, change in zip(ends, changes, strict=True)]
    latents["slerp, even"] = torch.stack(even)
    frames = {
        name: decode_all(vae, z.flatten(0, 1)).cpu().reshape(-1, FRAMES, 1, 32, 32) for name, z in latents.items()
    }
    bar = tqdm((frames | control_paths(angles)).items(), "Scoring", leave=False, unit=" paths", delay=1)
    return {name: score(x, angles) for name, x in bar}


def scores_table(scores: dict[str, LineScores]) -> str:
    """The scores as text, a row each."""
    rows = [("path", "distance ×10³", "smoothness", "end error", "long way", "backtracking")]
    for name, found in scores.items():
        distance, smoothness, end_error, long_way, backtracking = (float(number) for number in found)
        turning = (f"{smoothness:.3f}", f"{end_error:.2f}°", f"{long_way:.3f}", f"{backtracking:.3f}")
        rows.append((name, f"{1e3 * distance:.3f}", *turning))
    return "\n".join(f"{row[0]:<12}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in rows)
