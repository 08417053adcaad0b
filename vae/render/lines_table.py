"""The LINES benchmark of a model: its paths between fresh lines, beside paths that are known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError
from data.system.files import user_path
from vae.inference import decode_all, encode_means
from vae.latent.pace import arc_length_times
from vae.latent.paths import BETWEEN_TWO, slerp
from vae.metrics import lines_benchmark
from vae.metrics.lines_benchmark import FRAMES, PAIRS, LineScores
from vae.model.vae import VAE
from vae.option_groups import Range
from vae.render.options import Device

_PLACES = 65


@dataclass(frozen=True)
class LinesOptions:
    """The LINES benchmark.

    Args:
        checkpoint: a .ckpt file, trained on `lines`.
        device: where the model runs: `auto` takes a GPU if there is one, else the CPU.
        seed: names the fresh lines.
        pairs: how many pairs of them.
    """

    checkpoint: Annotated[Path, user_path] = Path("checkpoints/lines.ckpt")
    device: Device = "auto"
    seed: int = 1
    pairs: Annotated[int, Range(1)] = PAIRS


def slerp_by_arc_length(vae: VAE, pair: Tensor, t: Tensor) -> Tensor:
    """Latents (T, D) on the great circle between two (2, D) at which shares t of the change in pixels have passed."""
    places = torch.linspace(0, 1, _PLACES, dtype=torch.float64)
    change = decode_all(vae, slerp(pair, places)).diff(dim=0).flatten(1).norm(dim=1)
    return slerp(pair, arc_length_times(places, change.cpu(), t))


@torch.no_grad()
def score_paths(vae: VAE, angles: Tensor) -> dict[str, LineScores]:
    """Scores every path, and then the controls.

    Args:
        vae: trained on `lines`, in eval mode.
        angles: (P, 2) of the lines at the paths' ends.

    Raises:
        UserError: a model of other pictures.
    """
    if (vae.image_size, vae.channels) != (32, 1):
        raise UserError(
            f"the checkpoint draws {vae.image_size}×{vae.image_size}×{vae.channels} pictures, lines are 32×32×1; "
            "train one with python train.py fit --data.source lines"
        )
    ends = encode_means(vae, lines_benchmark.line_images(angles).flatten(0, 1)).reshape(-1, 2, vae.latent_dim).cpu()
    t = torch.linspace(0, 1, FRAMES, dtype=torch.float64)
    latents = {name: torch.stack([path(pair, t, False) for pair in ends]) for name, path in BETWEEN_TWO.items()}
    latents["slerp, even"] = torch.stack([slerp_by_arc_length(vae, pair, t) for pair in ends])
    frames = {
        name: decode_all(vae, z.flatten(0, 1)).cpu().reshape(-1, FRAMES, 1, 32, 32) for name, z in latents.items()
    }
    frames |= lines_benchmark.control_paths(angles)
    bar = tqdm(frames.items(), "Scoring", leave=False, unit=" paths", delay=1)
    return {name: lines_benchmark.score(x, angles) for name, x in bar}


def scores_table(scores: dict[str, LineScores]) -> str:
    """The scores as text, a row each."""
    rows = [("path", "distance ×10³", "smoothness", "end error", "long way", "backtracking")]
    for name, found in scores.items():
        distance, smoothness, end_error, long_way, backtracking = (float(number) for number in found)
        turning = (f"{smoothness:.3f}", f"{end_error:.2f}°", f"{long_way:.3f}", f"{backtracking:.3f}")
        rows.append((name, f"{1e3 * distance:.3f}", *turning))
    return "\n".join(f"{row[0]:<12}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in rows)
