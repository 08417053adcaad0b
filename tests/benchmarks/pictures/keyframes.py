"""What pivotal tuning makes of pairs of held-out pictures, beside a cross-fade; and of pairs whose middle is known.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.pictures.keyframes SETS/clip --pairs 12

One thread. The frames are those of slerp at the model's own size, nine from picture to picture, by time on the path and
by visible change; the detail that `render.py` adds near keyframes is left out.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.benchmarks.pictures.__main__ import load, write_sheet
from tests.benchmarks.pictures.judge import features, kernel_distance
from vae.checkpoint import load_vae
from vae.generator import seeded_latents
from vae.inference import decode_all, encode_means
from vae.latent.paths import slerp
from vae.metrics.perceptual import pyramid
from vae.metrics.smoothness import gradient_energy
from vae.model.vae import VAE
from vae.tuning.pivotal import Budget, parse_budget, psnr, tune

_FRAMES, _DENSE, _REAL = 9, 65, 160
_SEEDS = 16


def evenly_paced(film: Tensor) -> Tensor:
    """Nine of many frames, equally far from one another in visible change."""
    way = F.pad(pyramid(film).diff(dim=0).norm(dim=1).cumsum(0), (1, 0))
    return film[[int((way / way[-1] - part).abs().argmin()) for part in torch.linspace(0, 1, _FRAMES)]]


def film_numbers(films: Tensor, real: Tensor) -> dict[str, float]:
    """KID of the frames between the ends (P, N, C, H, W), least sharpness, detour, unevenness."""
    energy, steps = gradient_energy(films), films.diff(dim=1).flatten(2).norm(dim=2).sum(1)
    mix = torch.lerp(energy[:, :1], energy[:, -1:], torch.linspace(0, 1, _FRAMES))
    changes = torch.stack([features(film).diff(dim=0).norm(dim=1) for film in films])
    return {
        "kid": kernel_distance(real, features(films[:, 1:-1].flatten(0, 1))),
        "sharp": float((energy / mix)[:, 1:-1].amin(1).mean()),
        "detour": float((steps / (films[:, -1] - films[:, 0]).flatten(1).norm(dim=1)).mean()),
        "pdv": float((changes.std(1) / changes.mean(1)).mean()),
    }


def changed(x: Tensor, shift: float = 0.0, degrees: float = 0.0, scale: float = 1.0) -> Tensor:
    """A picture (C, H, W) on white that is moved by a share of its side, turned and scaled about its middle."""
    c, s = (part(math.radians(degrees)) / scale for part in (math.cos, math.sin))
    turn = torch.tensor([[[c, -s, -2 * shift * c], [s, c, -2 * shift * s]]])
    grid = F.affine_grid(turn, [1, *x.shape], align_corners=False)
    return F.grid_sample(x[None] - 1, grid, align_corners=False)[0] + 1


def known_answers(x: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """A start, its true middle and an end, by what changes."""
    small, other = changed(x, scale=0.62), x[[1, 2, 0]]
    return {
        "moved": (changed(small, shift=-0.1), small, changed(small, shift=0.1)),
        "turned": (changed(small, degrees=-20), small, changed(small, degrees=20)),
        "grown": (changed(x, scale=0.6), changed(x, scale=0.6 * 1.5**0.5), changed(x, scale=0.9)),
        "recoloured": (x, (x + other) / 2, other),
    }


def middle(vae: VAE, ends: Tensor, budget: Budget) -> Tensor:
    """The frame half-way between two pictures (2, C, H, W)."""
    z = encode_means(vae, ends)
    return decode_all(tune(vae, z, ends, budget), slerp(z, torch.tensor([0.5])))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="a folder with held/")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/pictures.ckpt"))
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--things", type=int, default=0, help="pictures that are moved, turned, grown and recoloured")
    parser.add_argument("--tune", type=parse_budget, default="200")
    parser.add_argument("--out", type=Path, default=Path("renders/pictures"), help="a folder for sheets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    vae = load_vae(given.checkpoint)
    held = load(given.set / "held", vae.image_size).float() / 127.5 - 1
    held = held[torch.from_numpy(np.random.default_rng(0).permutation(len(held)))]
    pairs, real = held[: 2 * given.pairs].unflatten(0, (-1, 2)), features(held[2 * given.pairs :][:_REAL])
    dense, seeds = [], seeded_latents(0, _SEEDS, vae.latent_dim)
    ends, kept, seconds = [], [], 0.0
    for pair in pairs:
        started = time.process_time()
        z = encode_means(vae, pair)
        tuned = tune(vae, z, pair, given.tune)
        seconds += time.process_time() - started
        dense.append(decode_all(tuned, slerp(z, torch.linspace(0, 1, _DENSE, dtype=torch.float64)).float()))
        ends.append(psnr(dense[-1][[0, -1]], pair))
        kept.append(psnr(decode_all(tuned, seeds), decode_all(vae, seeds)).min())
    of_pairs = {"end_psnr": float(torch.cat(ends).mean()), "least": float(torch.cat(ends).min())}
    of_pairs |= {"cpu_seconds": seconds / len(pairs), "seeds_psnr": float(torch.stack(kept).min())}
    mixes = torch.linspace(0, 1, _FRAMES)[:, None, None, None]
    films = {
        "cross-fade": torch.stack([torch.lerp(*pair, mixes) for pair in pairs]),
        "by time": torch.stack([film[:: (_DENSE - 1) // (_FRAMES - 1)] for film in dense]),
        "by change": torch.stack([evenly_paced(film) for film in dense]),
    }
    print(json.dumps({"set": given.set.name} | {name: round(value, 3) for name, value in of_pairs.items()}), flush=True)
    for name, some in films.items():
        found = film_numbers(some, real)
        print(json.dumps({"frames": name} | {key: round(value, 3) for key, value in found.items()}), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    shown = torch.stack([films["cross-fade"], films["by change"]], 1).flatten(0, 1)[:16]
    write_sheet(shown, given.out / f"keyframes_{given.set.name}.png")
    better: dict[str, list[tuple[float, float]]] = {}
    for x in held[: given.things]:
        for kind, (start, true, end) in known_answers(x).items():
            drawn = torch.stack([middle(vae, torch.stack([start, end]), given.tune), (start + end) / 2])
            better.setdefault(kind, []).append(tuple(psnr(drawn, true.expand_as(drawn)).tolist()))
    for kind, values in better.items():
        ours, fade = np.array(values).T
        found = {"kind": kind, "psnr": ours.mean(), "cross_fade": fade.mean(), "nearer": int((ours > fade).sum())}
        print(json.dumps(found | {"of": len(values)}), flush=True)


if __name__ == "__main__":
    main()
