"""Latents → frames: decoded in batches, given out one by one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

from data.transforms import to_uint8
from vae.generator import Generator
from vae.render.formats.frame import Frame

Item = TypeVar("Item")
_BATCH = 32


def decode(vae: Generator, z: Tensor, dtype: torch.dtype = torch.float32) -> Iterator[Frame]:
    """Streams the pictures of latents; the next batch is decoded in a thread while frames of this one are being used.

    Every batch has the same shape, the last one padded, so that a frame's pixels depend on its latent alone and not
    on how many others are decoded with it.

    Args:
        vae: in eval mode.
        z: (N, D).
        dtype: what the layers compute in; bfloat16 is faster where the processor has it, and off by a few levels.

    Yields:
        N frames, (H, W, 3) uint8; grey pictures as three equal channels.
    """
    return chain.from_iterable(ahead(_batches(vae, z, dtype)))


def _batches(vae: Generator, z: Tensor, dtype: torch.dtype) -> Iterator[Frame]:
    for batch in torch.split(z.to(vae.device), _BATCH) if len(z) else ():
        padded = torch.cat([batch, batch[-1:].expand(_BATCH - len(batch), -1)])
        autocast = torch.autocast(vae.device.type, dtype, enabled=dtype != torch.float32)
        with torch.inference_mode(), autocast:
            pixels = to_uint8(vae.decode(padded))[: len(batch)]
        yield pixels.expand(-1, -1, -1, 3).cpu().numpy()


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made in a thread while the one before it is being used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
