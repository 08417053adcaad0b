"""In which order pictures are served: a function of seed and epoch alone, whoever asks, so that any batch can be next.

Of W processes, number r serves the r-th part of each batch that a single one would serve.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from data.rng import derive_seed


class Shard(NamedTuple):
    """One of the processes that train together.

    Attributes:
        rank: its number, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1


class ShuffledBatches(Sampler[list[int]]):
    """Batches of row numbers for training; what does not fill a batch at the end of an epoch is left out.

    Args:
        count: of rows.
        batch_size: of each process.
        seed: names the orders.
        share: whose batches.
        place: tells epoch and batch, each from 0, at which the serving begins.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, share: Shard, place: Callable[[], tuple[int, int]]
    ) -> None:
        self.count, self.seed, self.share, self.place = count, seed, share, place
        self.batch_size = min(batch_size, max(1, count // share.world))

    def __len__(self) -> int:
        return self.count // (self.batch_size * self.share.world)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, start = self.place()
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch))
        rows = torch.randperm(self.count, generator=generator)[: len(self) * self.batch_size * self.share.world]
        yield from rows.reshape(len(self), self.share.world, self.batch_size)[start:, self.share.rank].tolist()


class SequentialBatches(Sampler[list[int]]):
    """Batches of row numbers to measure on: each row once, in as many batches for every process, of like sizes.

    Where there are fewer rows than processes, those that would have none repeat one.

    Args:
        count: of rows.
        batch_size: of each process, about.
        share: whose batches.
    """

    def __init__(self, count: int, batch_size: int, share: Shard) -> None:
        rows = torch.arange(max(count, share.world))[share.rank :: share.world] % count
        batches = max(1, math.ceil(count // share.world / batch_size))
        self.batches = [some.tolist() for some in rows.tensor_split(batches)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


class Loader(DataLoader[Tensor]):
    """A loader that starts when the first batch is asked for, and has no state but its sampler's place."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: Lightning asks for it of loaders that can go on in the middle of an epoch."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes nothing."""
