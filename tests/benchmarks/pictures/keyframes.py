"""What pivotal tuning makes of pairs of held-out pictures, beside a cross-fade; and of pairs whose middle is known.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.pictures.keyframes SETS/clip --pairs 12

One thread. The frames are those of `render.py slerp`, nine from picture to picture, by time on the path and by visible
change: made of the pictures, or drawn by the model.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data.image_files.reader import read_picture
from data.transforms import to_tensor
from tests.benchmarks.pictures.__main__ import write_sheet
from vae.checkpoint import load_vae
from vae.generator import seeded_latents
from vae.inference import decode_all, encode_means
from vae.latent.keyframes import Keyframe, latents_of, parse_keyframe
from vae.latent.timing import EASINGS
from vae.metrics.judge import features, kernel_distance, unevenness
from vae.metrics.smoothness import gradient_energy
from vae.model.vae import VAE
from vae.render.clips import BetweenOptions, Clip, clips_along
from vae.render.frames import Film
from vae.render.options import KeyframeOptions, MotionOptions, PictureOptions
from vae.render.pacing import frame_times
from vae.tuning.pivotal import Budget, parse_budget, psnr

_FRAMES, _REAL = 9, 160
_SEEDS = 16


def frames_of(clip: Clip, t: Tensor, side: int) -> Tensor:
    """The frames of a clip at times (T,): (T, 3, H, H) in [-1, 1]."""
    frames = Film(clip, t, PictureOptions(size=side)).all()
    return to_tensor(torch.from_numpy(np.stack(list(frames))))


def film_numbers(films: Tensor, real: Tensor) -> dict[str, float]:
    """KID of the frames between the ends (P, N, C, H, W), least sharpness, detour, unevenness."""
    energy, steps = gradient_energy(films), films.diff(dim=1).flatten(2).norm(dim=2).sum(1)
    mix = torch.lerp(energy[:, :1], energy[:, -1:], torch.linspace(0, 1, _FRAMES))
    return {
        "kid": kernel_distance(real, features(films[:, 1:-1].flatten(0, 1))),
        "sharp": float((energy / mix)[:, 1:-1].amin(1).mean()),
        "detour": float((steps / (films[:, -1] - films[:, 0]).flatten(1).norm(dim=1)).mean()),
        "pdv": float(np.mean([unevenness(features(film)) for film in films])),
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
    keyframes = [Keyframe(z, x) for z, x in zip(encode_means(vae, ends).clone(), ends, strict=True)]
    (clip,) = clips_along({"": "slerp"}, vae, keyframes, KeyframeOptions(tune=budget), BetweenOptions())
    return next(clip.draw(torch.tensor([0.5], dtype=torch.float64)))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="a folder with held/")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/pictures.ckpt"))
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--things", type=int, default=0, help="pictures that are moved, turned, grown and recoloured")
    parser.add_argument("--tune", type=parse_budget, default="200")
    parser.add_argument("--size", type=int, default=64, help="the side of the frames")
    parser.add_argument("--out", type=Path, default=Path("renders/pictures"), help="a folder for sheets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    vae = load_vae(given.checkpoint)
    files = sorted((given.set / "held").glob("*.png"))
    files = [files[k] for k in np.random.default_rng(0).permutation(len(files))]

    def load(files: Sequence[Path], side: int) -> Tensor:
        return to_tensor(torch.from_numpy(np.stack([read_picture(file, side, vae.channels) for file in files])))

    real, seeds = (
        features(load(files[2 * given.pairs :][:_REAL], given.size)),
        seeded_latents(0, _SEEDS, vae.latent_dim),
    )
    ends, kept, seconds, films = [], [], 0.0, dict[str, list[Tensor]]()
    evenly, mixes = torch.linspace(0, 1, _FRAMES, dtype=torch.float64), torch.linspace(0, 1, _FRAMES)
    for pair in zip(files[: 2 * given.pairs : 2], files[1 : 2 * given.pairs : 2], strict=True):
        keyframes = [parse_keyframe(vae, str(file)) for file in pair]
        started = time.process_time()
        (clip,) = clips_along({"": "slerp"}, vae, keyframes, KeyframeOptions(tune=given.tune), BetweenOptions())
        seconds += time.process_time() - started
        ends.append(psnr(decode_all(clip.model, latents_of(keyframes)), load(pair, vae.image_size)))
        kept.append(psnr(decode_all(clip.model, seeds), decode_all(vae, seeds)).min())
        films.setdefault("cross-fade", []).append(torch.lerp(*load(pair, given.size), mixes[:, None, None, None]))
        for kind, one in (("pictures", clip), ("model", replace(clip, metamorphosis=None))):
            films.setdefault(f"{kind}, by time", []).append(frames_of(one, evenly, given.size))
            ((t,), _) = frame_times([one], MotionOptions(frames=_FRAMES, easing=EASINGS["linear"]))
            films.setdefault(f"{kind}, by change", []).append(frames_of(one, t, given.size))
    of_pairs = {"end_psnr": float(torch.cat(ends).mean()), "least": float(torch.cat(ends).min())}
    of_pairs |= {"cpu_seconds": seconds / given.pairs, "seeds_psnr": float(torch.stack(kept).min())}
    print(json.dumps({"set": given.set.name} | {name: round(value, 3) for name, value in of_pairs.items()}), flush=True)
    for name, some in films.items():
        found = film_numbers(torch.stack(some), real)
        print(json.dumps({"frames": name} | {key: round(value, 3) for key, value in found.items()}), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    shown = torch.stack([torch.stack(films[name]) for name in ("cross-fade", "pictures, by change")], 1)
    write_sheet(shown.flatten(0, 1)[:16], given.out / f"keyframes_{given.set.name}_{given.size}.png")
    better: dict[str, list[tuple[float, float]]] = {}
    for x in load(files[: given.things], vae.image_size) if given.things else ():
        for kind, (start, true, end) in known_answers(x).items():
            drawn = torch.stack([middle(vae, torch.stack([start, end]), given.tune), (start + end) / 2])
            better.setdefault(kind, []).append(tuple(psnr(drawn, true.expand_as(drawn)).tolist()))
    for kind, values in better.items():
        ours, fade = np.array(values).T
        found = {"kind": kind, "psnr": ours.mean(), "cross_fade": fade.mean(), "nearer": int((ours > fade).sum())}
        print(json.dumps(found | {"of": len(values)}), flush=True)


if __name__ == "__main__":
    main()
