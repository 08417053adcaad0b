"""Latents → frames: decoded in batches, given out one by one."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data.pixels import to_uint8
from vae.model import VAE

Frame = NDArray[np.uint8]
_BATCH = 16


def decode(vae: VAE, z: Tensor) -> Iterator[Frame]:
    """Streams the pictures of latents.

    Every batch has the same shape, the last one padded, so that a frame's pixels depend on its latent alone and not
    on how many others are decoded with it.

    Args:
        vae: in eval mode.
        z: (N, D).

    Yields:
        N frames, (H, W, 3) uint8; grey pictures as three equal channels.
    """
    device = next(vae.parameters()).device
    for batch in torch.split(z.to(device), _BATCH) if len(z) else ():
        padded = torch.cat([batch, batch[-1:].expand(_BATCH - len(batch), -1)])
        with torch.inference_mode():
            pixels = to_uint8(vae.decode(padded))[: len(batch)]
        yield from pixels.expand(-1, -1, -1, 3).cpu().numpy()


def ahead(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The same frames, made in a thread of their own: some are ready while others are still being used."""
    coming = iter(frames)
    with ThreadPoolExecutor(1) as thread:
        batch = thread.submit(lambda: list(islice(coming, _BATCH)))
        while ready := batch.result():
            batch = thread.submit(lambda: list(islice(coming, _BATCH)))
            yield from ready


def resize(frame: Frame, height: int, resample: str) -> Frame:
    """A frame of another height and of the same shape.

    Args:
        frame: (H, W, 3) uint8.
        height: the new one in pixels.
        resample: `nearest` keeps pixels as hard squares, `lanczos` is smooth.
    """
    if frame.shape[0] == height:
        return frame
    width = max(1, round(frame.shape[1] * height / frame.shape[0]))
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling[resample.upper()]))
