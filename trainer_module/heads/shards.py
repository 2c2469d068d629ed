"""Matrices whose rows are split over the replicas, in the order of classes, and what replicas tell each other of them.

A matrix of R rows is split into N equal shards of `ceil(R / N)`; the last ones are filled up with zeros. A shard is one
variable of the strategy's, of which each replica holds other values.

In a replica, `everyones` and `own_sum` are each other's gradient. So each replica differentiates the loss of its own
images, and gets what the sum over all replicas' losses gives its own shard and its own images.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

_BLOCK = 1 << 14  # rows of a shard that are gathered at a time: 16,384 x 512 x 4 B = 34 MB a replica


def shard_rows(rows: int, replicas: int) -> int:
    """Rows of each replica's shard."""
    return math.ceil(rows / replicas)


def spread(variable: tf.Variable, rows: int, part: Callable[[int, int], np.ndarray]) -> None:
    """Gives each replica its rows, outside of replicas.

    Args:
      variable: a shard, [S, ...].
      rows: R, of the whole.
      part: gives the rows from a first one on to before an end: [end - begin, ...].
    """
    strategy, (size, *rest) = variable.distribute_strategy, variable.shape

    def of(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        begin = min(context.replica_id_in_sync_group * size, rows)
        end = min(begin + size, rows)
        value = np.zeros([size, *rest], variable.dtype.as_numpy_dtype)
        value[: end - begin] = part(begin, end)
        with tf.device("/cpu:0"):
            return tf.constant(value)

    with strategy.scope():
        values = strategy.experimental_distribute_values_from_function(of)
        strategy.extended.update(variable, lambda own, value: own.assign(value), args=(values,))


def collected(variable: tf.Variable, rows: int, *, kept: bool) -> np.ndarray | None:
    """The whole matrix, on the host: every worker calls this, outside of replicas.

    Args:
      variable: a shard, [S, ...].
      rows: R, of the whole.
      kept: False takes part, and keeps nothing.

    Returns:
      [R, ...]; None where it isn't kept.
    """
    strategy, (size, *rest) = variable.distribute_strategy, variable.shape
    replicas = strategy.num_replicas_in_sync
    whole = np.empty([replicas, size, *rest], variable.dtype.as_numpy_dtype) if kept else None
    shards = strategy.experimental_local_results(variable)
    for begin in range(0, size, _BLOCK):
        blocks = [shard[begin : begin + _BLOCK] for shard in shards]
        block = strategy.experimental_distribute_values_from_function(
            lambda context, blocks=blocks: blocks[context.replica_id_in_sync_group % len(blocks)]
        )
        found = strategy.experimental_local_results(_gathering(strategy)(block))[0]
        if whole is not None:
            whole[:, begin : begin + _BLOCK] = found.numpy().reshape([replicas, -1, *rest])
    return None if whole is None else whole.reshape([-1, *rest])[:rows]


@functools.cache
def _gathering(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """`everyones` outside of replicas; traced once for a shape, not for each variable at each checkpoint."""
    return tf.function(lambda values: strategy.run(everyones, args=(values,)), autograph=False)


@tf.custom_gradient
def everyones(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The rows of all replicas, in their order: [N, ...] of each, N the same, -> [replicas * N, ...]."""
    found = tf.distribute.get_replica_context().all_gather(_placed(values), axis=0)
    return tf.ensure_shape(found, [None, *values.shape[1:]]), own_sum


def own_sum(values: tf.Tensor) -> tf.Tensor:
    """The sum over replicas, of which each gets its own rows: [replicas * N, ...] -> [N, ...]."""
    return _own_sum(tf.convert_to_tensor(values))  # a gradient may come as IndexedSlices


@tf.custom_gradient
def _own_sum(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    context = tf.distribute.get_replica_context()
    return own(context.all_reduce(tf.distribute.ReduceOp.SUM, _placed(values))), everyones


def _placed(values: tf.Tensor) -> tf.Tensor:
    """On the replica's device: a worker of one replica sends nothing of which TensorFlow doesn't know where it is."""
    return tf.identity(values)


def own(values: tf.Tensor) -> tf.Tensor:
    """A replica's rows of what `everyones` gave: [replicas * N, ...] -> [N, ...]."""
    context = tf.distribute.get_replica_context()
    size = tf.shape(values)[0] // context.num_replicas_in_sync
    begin = size * tf.cast(context.replica_id_in_sync_group, tf.int32)
    return values[begin : begin + size]
