"""The order of the pictures: a function of the seed and of the pictures seen, so that any batch can be next.

Of W processes, number r loads the r-th part of each batch that one alone would load.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from data.rng import derive_seed

_LEAST, _MOST, _SIDE = 8, 64, 64  # pictures a step, and the side of those of which there are most


class Shard(NamedTuple):
    """One process of those that train together: its number, and how many there are."""

    rank: int = 0
    world: int = 1


def usual_batch_size(image_size: int) -> int:
    """The usual number of pictures a step, from 8 to 64: that of pixels is as in 64 pictures of 64 pixels a side.

    A training of some minutes then has as many steps on larger pictures, each of which needs more time.

    >>> [usual_batch_size(side) for side in (32, 64, 96, 128, 256)]
    [64, 64, 28, 16, 8]
    """
    return min(_MOST, max(_LEAST, _MOST * _SIDE**2 // image_size**2))


class ShuffledBatches(Sampler[list[int]]):
    """Batches of row numbers for training: a function of the seed and of the pictures that were seen.

    The rows of epoch e are a permutation from (seed, e). Those that do not fill a batch at its end are left out.

    Args:
        count: rows, which are the pictures of an epoch.
        batch_size: of each process; less where that leaves one without a batch.
        seed: of the orders.
        shard: whose batches they are.
        pictures_seen: looks up how many pictures all processes have seen, which is where the iteration begins.
    """

    def __init__(self, count: int, batch_size: int, seed: int, shard: Shard, pictures_seen: Callable[[], int]) -> None:
        self.count, self.seed, self.shard, self.pictures_seen = count, seed, shard, pictures_seen
        self.batch_size = min(batch_size, max(1, count // shard.world))

    @property
    def pictures_per_batch(self) -> int:
        """Pictures in a batch of all processes together."""
        return self.batch_size * self.shard.world

    def __len__(self) -> int:
        return self.count // self.pictures_per_batch

    def __iter__(self) -> Iterator[list[int]]:
        epoch, offset = divmod(self.pictures_seen(), self.count)
        rows = torch.randperm(self.count, generator=torch.Generator().manual_seed(derive_seed(self.seed, epoch)))
        batches = (self.count - offset) // self.pictures_per_batch
        rows = rows[offset : offset + batches * self.pictures_per_batch]
        yield from rows.reshape(batches, self.shard.world, self.batch_size)[:, self.shard.rank].tolist()


class SequentialBatches(Sampler[list[int]]):
    """Batches of row numbers to measure on: each row once, in as many batches for every process, of like sizes.

    Where there are fewer rows than processes, those that would have none repeat one.
    """

    def __init__(self, count: int, batch_size: int, shard: Shard) -> None:
        rows = torch.arange(max(count, shard.world))[shard.rank :: shard.world] % count
        batches = max(1, math.ceil(count // shard.world / batch_size))
        self.batches = [some.tolist() for some in rows.tensor_split(batches)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


class LazyLoader(DataLoader[Tensor]):
    """A loader that starts when the first batch is asked for; its only state is its sampler's place."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: Lightning asks for it of loaders that can go on in the middle of an epoch."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes nothing."""


def batch_loader(pictures: Dataset[Tensor], order: Sampler[list[int]], workers: int) -> LazyLoader:
    """Loads batches as `pictures.__getitems__` returns them: (N, H, W, C) uint8; 0 workers are this process."""
    return LazyLoader(
        pictures,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_unchanged,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def _unchanged(batch: Any) -> Tensor:
    return batch
