"""Procedural families as sources: endless pictures, each computed from the seed and its index."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from data.picture_source import PictureReport, Pictures, PictureSource, PictureSpec

_COUNT = 16_384
_BATCH = 32  # the fastest: a batch's intermediate maps still fit the processor's cache


def open_procedural(
    family: Callable[[int, Tensor, int], Tensor], name: str, spec: PictureSpec, downloads: Path | None = None
) -> PictureSource:
    """The first `limit` (or 16,384) pictures of a family: seed, indices (N,) int64, size → (N, size, size, C) uint8.

    Nothing is put into `downloads`.
    """
    count = spec.limit or _COUNT

    def pictures(report: PictureReport, items: range) -> Pictures:
        for start in items[::_BATCH]:
            batch = family(spec.seed, torch.arange(start, min(start + _BATCH, items.stop)), spec.size)
            if batch.shape[-1] != spec.channels:
                grey = batch.float().mean(-1, keepdim=True).round().to(torch.uint8)
                batch = grey.expand(-1, -1, -1, spec.channels)
            yield from batch.contiguous().numpy()

    first = family(spec.seed, torch.arange(4), spec.size).numpy().tobytes()  # changes when the family's code does
    recipe = {"family": name, "count": count, "probe": hashlib.sha256(first).hexdigest()}
    return PictureSource(recipe, count, pictures)
