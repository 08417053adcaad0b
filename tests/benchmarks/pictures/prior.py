"""Fits the flow of random latents to a model that was trained without one; nothing else of the model changes.

    python -m tests.benchmarks.pictures.prior CHECKPOINT FOLDER OUT

The flow of checkpoints/pictures.ckpt was fitted so, after its training.
"""

import sys
from pathlib import Path

import torch
from tqdm import tqdm

from tests.benchmarks.pictures.__main__ import load
from tests.benchmarks.pictures.numbers import to_float
from vae import checkpoint
from vae.model.latents.prior_flow import PriorFlow

_STEPS, _BATCH = 4000, 64


def main(source: Path, folder: Path, out: Path) -> None:
    """Writes the checkpoint again, with a flow of the codes of a folder's pictures."""
    vae = checkpoint.load_vae(source)
    if vae.whitening is None:
        raise SystemExit(f"{source}: was trained without whitening")
    pictures = load(folder, vae.image_size).split(_BATCH)
    with torch.no_grad():
        found = [vae.encoder(to_float(some)) for some in tqdm(pictures, "Encoding")]
    torch.manual_seed(0)
    flow = PriorFlow(vae.latent_dim)
    generator = torch.Generator().manual_seed(0)
    flow.fit(found, _STEPS, generator, lambda steps: tqdm(steps, "Fitting"), start=vae.whitening.undo)
    content = checkpoint.read(source)
    content["state_dict"] |= {f"vae.flow.{name}": weight for name, weight in flow.state_dict().items()}
    content["hyper_parameters"]["prior"] = "flow"
    torch.save(content, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
