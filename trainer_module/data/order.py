"""The order of the training data: a pure function of (seed, epoch, position), the same for any number of workers.

An epoch takes the shards in an order of its own. Each shard is read in windows of consecutive records, and each window
is shuffled. RecordExampleGen has dealt the records to shards by one global permutation. So a window is a sample of the
whole data set, and need not be large. To begin anywhere costs the reading of less than one shard.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def shard_order(shards: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """The shards of an epoch in their order: int64 [shards], a permutation."""
    return _permutation(tf.constant(shards, tf.int64), _seed(seed, epoch))


def window_order(records: tf.Tensor, seed: int, epoch: tf.Tensor, shard: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """The records of a shard's window in their order: int64 [records], a permutation.

    Args:
      records: how many the window has; the last one of a shard may have fewer than the others.
      seed: of the training.
      epoch: from 0.
      shard: number of the shard in its split, from 0.
      window: number of the window in its shard, from 0.
    """
    return _permutation(records, _seed(seed, epoch, shard, window))


def _seed(seed: int, *numbers: tf.Tensor) -> tf.Tensor:
    """A stateless seed, int64 [2], another for other numbers."""
    mixed = tf.constant([seed, 0], tf.int64)
    for number in numbers:
        mixed = tf.random.experimental.stateless_fold_in(mixed, tf.cast(number, tf.int64) + 1)
    return mixed


def _permutation(length: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_shuffle(tf.range(length, dtype=tf.int64), seed)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a training stands in its data.

    Attributes:
      epoch: from 0.
      shards: of the epoch's order, how many are behind it.
      records: of the next shard, how many are behind it.
    """

    epoch: int
    shards: int
    records: int


def place_of(record: int, counts: Sequence[int], seed: int) -> Place:
    """The place before a record, counted from the beginning of the training.

    Args:
      record: number of the record, from 0, over all epochs.
      counts: records of each shard.
      seed: of the training.
    """
    epoch, within = divmod(record, sum(counts))
    behind = np.cumsum(np.asarray(counts)[shard_order(len(counts), seed, tf.constant(epoch, tf.int64)).numpy()])
    shards = int(np.searchsorted(behind, within, side="right"))
    return Place(epoch, shards, within - int(behind[shards - 1] if shards else 0))
