"""The order of the data: permutations, other ones each time, and any place in it found by arithmetic."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_module.data import order

COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def _epoch(counts, seed, epoch, window):
    """(shard, record) of each position of an epoch, from the module's words."""
    found = []
    for shard in order.shard_order(len(counts), seed, epoch).numpy():
        for number, begin in enumerate(range(0, counts[shard], window)):
            length = min(window, counts[shard] - begin)
            found += [(shard, begin + i) for i in order.window_order(length, seed, epoch, shard, number).numpy()]
    return found


@settings(max_examples=30, deadline=None)
@given(counts=COUNTS, epoch=st.integers(0, 3), seed=st.integers(0, 2**40), window=st.integers(1, 10))
def test_an_epoch_is_a_permutation(counts, epoch, seed, window):
    every = [(shard, record) for shard, count in enumerate(counts) for record in range(count)]
    found = _epoch(counts, seed, epoch, window)
    assert sorted(found) == every
    assert found == _epoch(counts, seed, epoch, window)


@settings(max_examples=50, deadline=None)
@given(counts=COUNTS, record=st.integers(0, 200), seed=st.integers(0, 99))
def test_a_place_is_where_counting_ends(counts, record, seed):
    place = order.place_of(record, counts, seed)
    shards = [int(i) for i in order.shard_order(len(counts), seed, place.epoch).numpy()]
    behind = sum(counts[shard] for shard in shards[: place.shards])
    assert place.epoch * sum(counts) + behind + place.records == record
    assert place.records < counts[shards[place.shards]]


def test_orders_differ_between_epochs_shards_windows_and_seeds():
    drawn = {
        tuple(order.window_order(50, seed, epoch, shard, window).numpy())
        for seed in (1, 2)
        for epoch in (0, 1)
        for shard in (0, 1)
        for window in (0, 1)
    }
    assert len(drawn) == 16
    assert len({tuple(order.shard_order(50, 1, epoch).numpy()) for epoch in range(20)}) == 20


def test_every_place_is_equally_likely():
    """1,000 permutations of 8: each cell expects 125, with a standard deviation of 10.5."""
    drawn = np.stack([order.window_order(8, 3, tf.constant(epoch), 0, 0).numpy() for epoch in range(1000)])
    counted = np.stack([np.bincount(column, minlength=8) for column in drawn.T])
    assert abs(counted - 125).max() < 50
