"""Trains `train.py` on a set and the lesson's network for as many CPU seconds, and measures both alike.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.pictures SETS/emoji --seed 0 -- --minutes 5

One thread each; importing is not counted. What follows `--` goes to train.py.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests.benchmarks.pictures import lesson
from tests.benchmarks.pictures.numbers import measure
from vae.checkpoint import last_checkpoints, load_vae

_TILE = 64


def load(folder: Path, size: int) -> Tensor:
    """The pictures of a folder, (N, C, H, W) uint8."""
    pictures = [Image.open(file) for file in sorted(folder.glob("*.png"))]
    mode = "L" if pictures[0].mode == "L" else "RGB"
    pixels = np.stack([np.asarray(one.convert(mode).resize((size, size), Image.Resampling.BOX)) for one in pictures])
    return torch.from_numpy(pixels.reshape(len(pixels), size, size, -1).transpose(0, 3, 1, 2).copy())


def train_ours(folder: Path, size: int, channels: int, out: Path, words: list[str]) -> tuple[Path, float]:
    """The last checkpoint of `train.py`, and the CPU seconds that it took beyond those of its imports."""
    root = Path(__file__).parents[3]
    command = [sys.executable, str(root / "train.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def seconds(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    options = ["fit", "--data.source", str(folder), "--data.image_size", str(size), "--data.channels", str(channels)]
    options += ["--trainer.default_root_dir", str(out)]
    taken = seconds(*options, *words) - seconds("fit", "--help")
    return last_checkpoints(out / "checkpoints")[0], taken


def write_sheet(rows: Tensor, file: Path) -> None:
    """Writes rows of pictures (R, N, C, H, W) in [-1, 1] as one PNG."""
    r, n, _, h, w = rows.shape
    pixels = ((rows + 1) * 127.5).round().clamp(0, 255).byte().expand(r, n, 3, h, w)
    sheet = Image.fromarray(pixels.permute(0, 3, 1, 4, 2).reshape(r * h, n * w, 3).numpy())
    sheet.resize((n * _TILE, r * _TILE), Image.Resampling.NEAREST).save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="a folder with train/ and held/")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("renders/pictures"), help="a folder for numbers and sheets")
    parser.add_argument("--checkpoint", type=Path, help="measure this one instead of training")
    parser.add_argument("--seconds", type=float, help="train the lesson's network alone, for so many CPU seconds")
    own = sys.argv[1:]
    place = own.index("--") if "--" in own else len(own)
    given, words = parser.parse_args(own[:place]), own[place + 1 :]
    torch.set_num_threads(1)
    pictures, held = load(given.set / "train", given.size), load(given.set / "held", given.size)
    name = f"{given.set.name}_{given.size}_{given.seed}"
    given.out.mkdir(parents=True, exist_ok=True)
    models, seconds = {}, given.seconds
    if given.checkpoint:
        models["ours"] = load_vae(given.checkpoint)
    elif seconds is None:
        words = [*words, "--seed_everything", str(given.seed)]
        checkpoint, seconds = train_ours(
            given.set / "train", given.size, pictures.shape[1], given.out / f"run_{name}", words
        )
        models["ours"] = load_vae(checkpoint)
    if seconds is not None:
        models["lesson"] = lesson.train(pictures, seconds, given.seed)
    for what, model in models.items():
        numbers, rows = measure(model, pictures, held)
        found = {"set": name, "model": what, "cpu_seconds": seconds}
        found |= {key: round(value, 4) for key, value in numbers._asdict().items()}
        (given.out / f"{what}_{name}.json").write_text(json.dumps(found))
        write_sheet(rows, given.out / f"{what}_{name}.png")
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
