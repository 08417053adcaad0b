"""The LINES benchmark of a model: its paths between fresh lines, beside paths that are known."""

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError
from vae.latent.pace import even_pace
from vae.latent.paths import BETWEEN_TWO, slerp
from vae.metrics import lines_benchmark
from vae.metrics.lines_benchmark import FRAMES, LineScores
from vae.metrics.smoothness import decode, encode
from vae.model.vae import VAE

_DENSE = 65


def evenly(vae: VAE, pair: Tensor, t: Tensor) -> Tensor:
    """The latents (T, D) on the great circle between two (2, D) at which shares t of the visible change have passed."""
    dense = torch.linspace(0, 1, _DENSE, dtype=torch.float64)
    change = decode(vae, slerp(pair, dense)).diff(dim=0).flatten(1).norm(dim=1)
    return slerp(pair, even_pace(dense, change, t))


@torch.inference_mode()
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
    ends = encode(vae, lines_benchmark.line_images(angles).flatten(0, 1)).reshape(-1, 2, vae.latent_dim)
    t = torch.linspace(0, 1, FRAMES, dtype=torch.float64)
    walks = {name: torch.stack([path(pair, t, False) for pair in ends]) for name, path in BETWEEN_TWO.items()}
    walks["slerp, even"] = torch.stack([evenly(vae, pair, t) for pair in ends])
    films = {name: decode(vae, walk.flatten(0, 1)).reshape(-1, FRAMES, 1, 32, 32) for name, walk in walks.items()}
    films |= lines_benchmark.control_paths(angles)
    bar = tqdm(films.items(), "Scoring", leave=False, unit=" paths", delay=1)
    return {name: lines_benchmark.score(film, angles) for name, film in bar}


def table(scores: dict[str, LineScores]) -> str:
    """The scores as text, a row each."""
    rows = [("path", "distance ×10³", "smoothness", "end error", "long way", "backtracking")]
    for name, found in scores.items():
        distance, smoothness, end_error, long_way, backtracking = (float(number) for number in found)
        turning = (f"{smoothness:.3f}", f"{end_error:.2f}°", f"{long_way:.3f}", f"{backtracking:.3f}")
        rows.append((name, f"{1e3 * distance:.3f}", *turning))
    return "\n".join(f"{row[0]:<12}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in rows)
