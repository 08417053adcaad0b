"""The procedural families as sources."""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from data.source import Pictures, PictureSpec, Source
from data.synthetic.lines import lines
from data.synthetic.patterns import patterns

FAMILIES: dict[str, Callable[[int, Tensor, int], Tensor]] = {"patterns": patterns, "lines": lines}
_COUNT = 16_384
_BATCH = 32  # the fastest: a batch's intermediate maps still fit the processor's cache


def procedural(name: str, wish: PictureSpec) -> Source:
    """The first `limit` (or 16,384) pictures of an endless family.

    Args:
        name: one of `FAMILIES`.
        wish: size, channels, limit and the family's seed.
    """
    family = FAMILIES[name]
    count = wish.limit or _COUNT

    def pictures() -> Pictures:
        for start in range(0, count, _BATCH):
            batch = family(wish.seed, torch.arange(start, min(start + _BATCH, count)), wish.size)
            if batch.shape[-1] != wish.channels:
                grey = batch.float().mean(-1, keepdim=True).round().to(torch.uint8)
                batch = grey.expand(-1, -1, -1, wish.channels)
            yield from batch.contiguous().numpy()

    probe = family(wish.seed, torch.arange(4), wish.size).numpy().tobytes()  # changes when the family's code does
    return Source({"family": name, "count": count, "probe": hashlib.sha256(probe).hexdigest()}, count, pictures)
