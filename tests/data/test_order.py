"""Laws of the orders in which pictures are served."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.samplers import SequentialBatches, Shard, ShuffledBatches

counts, sizes, worlds, seeds = st.integers(1, 200), st.integers(1, 40), st.integers(1, 6), st.integers(0, 10**9)


def shuffled(count, size, seed, shard=None, seen=0):
    return list(ShuffledBatches(count, size, seed, shard or Shard(), lambda: seen))


@given(counts, sizes, worlds, seeds)
def test_an_epoch_has_each_row_once_at_most_and_nearly_all_of_them(count, size, world, seed):
    if count < world:
        return
    dealt = [shuffled(count, size, seed, Shard(rank, world)) for rank in range(world)]
    assert len({len(batches) for batches in dealt}) == 1
    assert dealt[0]
    rows = [row for batches in dealt for batch in batches for row in batch]
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(count))
    assert count - len(rows) < world * min(size, count // world)
    assert all(len(batch) == min(size, count // world) for batches in dealt for batch in batches)


@given(st.integers(8, 200), st.integers(1, 8), st.integers(1, 4), seeds)
def test_processes_share_the_batches_of_a_single_one(half, size, world, seed):
    count = half * world
    alone = shuffled(count, size * world, seed)
    dealt = [shuffled(count, size, seed, Shard(rank, world)) for rank in range(world)]
    assert [list(chain(*parts)) for parts in zip(*dealt, strict=True)] == alone


@given(counts, sizes, sizes, seeds, st.integers(0, 5), st.data())
def test_any_picture_can_be_next_in_batches_of_any_size(count, size, other, seed, epoch, data):
    rows = [row for batch in shuffled(count, 1, seed, seen=epoch * count) for row in batch]
    assert sorted(rows) == list(range(count))
    assert (
        list(chain(*shuffled(count, size, seed, seen=epoch * count)))
        == rows[: count // min(size, count) * min(size, count)]
    )
    offset = data.draw(st.integers(0, count - 1))
    rest = list(chain(*shuffled(count, other, seed, seen=epoch * count + offset)))
    assert rest == rows[offset : offset + len(rest)]
    assert count - offset - len(rest) < min(other, count)


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    orders = [shuffled(100, 10, seed, seen=100 * epoch) for seed in range(3) for epoch in range(3)]
    assert len({str(order) for order in orders}) == 9


@given(counts, sizes, worlds)
def test_what_is_measured_on_is_each_row_once_in_like_batches(count, size, world):
    dealt = [SequentialBatches(count, size, Shard(rank, world)) for rank in range(world)]
    assert len({len(batches) for batches in dealt}) == 1
    rows = sorted(row for batches in dealt for batch in batches for row in batch)
    assert rows == list(range(count)) if count >= world else set(rows) == set(range(count))
    lengths = [len(batch) for batches in dealt for batch in batches]
    assert 1 <= min(lengths) <= max(lengths) <= size + 1


@pytest.mark.parametrize("world", [1, 3])
def test_a_length_is_how_many_batches_there_are(world):
    for order in (
        ShuffledBatches(50, 4, 0, Shard(0, world), lambda: 0),
        SequentialBatches(50, 4, Shard(0, world)),
    ):
        assert len(order) == len(list(order))
