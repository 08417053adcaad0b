"""What a course lesson does: decode one frame after the other, then hand them all to imageio."""

import sys

import imageio
import numpy as np
import torch

from vae.checkpoint import load_vae


def main(checkpoint, count, out):
    vae = load_vae(checkpoint)
    start, end = torch.randn(2, vae.latent_dim, generator=torch.Generator().manual_seed(0))
    frames = []
    with torch.no_grad():
        for alpha in np.linspace(0, 1, count):
            z = (1 - alpha) * start + alpha * end
            image = vae.decoder(z.float().unsqueeze(0))
            image = ((image[0] + 1) / 2).clamp(0, 1)
            frames.append((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    imageio.mimsave(out, frames, duration=50, loop=0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
