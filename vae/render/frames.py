"""Latents → frames, decoded in batches and given out one by one, and what is measured of them on the way."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from data.system.errors import UserError
from data.transforms import to_uint8
from vae.generator import Generator
from vae.inference import decode_batches
from vae.latent.keyframes import Keyframe, keyframe_pixels, latents_of
from vae.metrics.perceptual import VisibleChangeMeter
from vae.metrics.smoothness import gradient_energy
from vae.render.formats.frame import Frame
from vae.render.options import PictureOptions
from vae.tuning.detail import Detail
from vae.tuning.tuned_decoder import TunedDecoder

_MOST_BYTES = 2_000_000_000

Item = TypeVar("Item")


class FrameMeter:
    """The visible change from each frame to the next, the gradient energy of each, and how many differ from all before.

    They are measured while the frames stream by.
    """

    def __init__(self) -> None:
        self.change = VisibleChangeMeter()
        self._energy: list[Tensor] = []
        self._digests: set[bytes] = set()

    def update(self, x: Tensor, pixels: Tensor) -> None:
        """Adds frames: pictures (N, C, H, W) in [-1, 1], and the same as bytes (N, H, W, C) on the CPU."""
        self.change.update(x)
        self._energy.append(gradient_energy(x).cpu())
        self._digests |= {hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for frame in pixels.numpy()}

    @property
    def distinct(self) -> int:
        return len(self._digests)

    @property
    def energy(self) -> Tensor:
        return torch.cat(self._energy)


def render_frames(
    model: Generator, z: Tensor, dtype: torch.dtype = torch.float32, meter: FrameMeter | None = None
) -> Iterator[Frame]:
    """Streams the pictures of latents; the next batch is decoded in a thread while frames of this one are being used.

    Args:
        model: in eval mode.
        z: (N, D).
        dtype: what the layers compute in; bfloat16 is faster where the processor has it, and off by a few levels.
        meter: is given the frames as they are decoded.

    Yields:
        N frames, (H, W, 3) uint8; grey pictures as three equal channels.
    """

    def batches() -> Iterator[Frame]:
        for x in decode_batches(model, z, dtype):
            pixels = to_uint8(x).cpu()
            if meter is not None:
                meter.update(x, pixels)
            yield pixels.expand(-1, -1, -1, 3).numpy()

    return chain.from_iterable(prefetch(batches()))


def keyframe_detail(model: Generator, keyframes: Sequence[Keyframe], picture: PictureOptions) -> Detail | None:
    """The detail of keyframes' pictures at the size of the frames; None where the model was not fitted to them."""
    if not keyframes or not isinstance(getattr(model, "decoder", None), TunedDecoder):
        return None
    pivots, residuals = latents_of(keyframes), {}
    for k, frame in enumerate(render_frames(model, pivots, picture.dtype)):
        if (file := keyframes[k].file) is not None:
            drawn = picture.resized(frame)
            residuals[k] = keyframe_pixels(file, len(drawn), model.channels).astype(np.int16) - drawn
    return Detail(pivots, residuals)


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made in a thread while the one before it is being used."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(next, items, None)
        while (item := future.result()) is not None:
            future = thread.submit(next, items, None)
            yield item


def check_memory(pictures: int, side: int) -> None:
    """Raises `UserError` if pictures of a side, all held at once, would take more than 2 GB."""
    if (needed := 3 * pictures * side**2) > _MOST_BYTES:
        raise UserError(
            f"{pictures:,} pictures of {side} pixels a side are {needed / 1e9:.0f} GB, held at once; ask for fewer or "
            "a smaller --size, or write .mp4, .webm or .gif without --max_size"
        )
