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
    """Batches of row numbers for training: a function of the seed and of the pictures that were seen.

    The rows of epoch e are a permutation from (seed, e). Those that do not fill a batch at its end are left out.

    Args:
        count: rows, which are the pictures of an epoch.
        batch_size: of each process; at most what gives each process a batch.
        seed: of the orders.
        share: whose batches.
        pictures_seen: looks up how many pictures all processes have seen: the place at which the iteration begins.
    """

    def __init__(self, count: int, batch_size: int, seed: int, share: Shard, pictures_seen: Callable[[], int]) -> None:
        self.count, self.seed, self.share, self.pictures_seen = count, seed, share, pictures_seen
        self.batch_size = min(batch_size, max(1, count // share.world))

    @property
    def pictures_per_batch(self) -> int:
        """Pictures in a batch of all processes together."""
        return self.batch_size * self.share.world

    def __len__(self) -> int:
        return self.count // self.pictures_per_batch

    def __iter__(self) -> Iterator[list[int]]:
        epoch, offset = divmod(self.pictures_seen(), self.count)
        rows = torch.randperm(self.count, generator=torch.Generator().manual_seed(derive_seed(self.seed, epoch)))
        batches = (self.count - offset) // self.pictures_per_batch
        rows = rows[offset : offset + batches * self.pictures_per_batch]
        yield from rows.reshape(batches, self.share.world, self.batch_size)[:, self.share.rank].tolist()


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
