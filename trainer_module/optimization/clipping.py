"""The length of a step's gradient, and the gradient cut to a length."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def clipped(gradients: Sequence[Any], shards: int, clip_norm: float) -> tuple[list[Any], tf.Tensor]:
    """The gradients of a step, scaled down to a global norm; in a replica.

    Args:
      gradients: tensors and IndexedSlices. The last `shards` are those of a replica's own rows, whose squares are
        summed over replicas; the others are the same in each.
      shards: how many.
      clip_norm: the norm; 0 leaves them.

    Returns:
      The gradients, and the norm that they had, float32 scalar. Where it is no number, no replica's are all finite.
    """
    gradients = [*gradients]
    norm = tf.linalg.global_norm(gradients[: len(gradients) - shards])
    if shards:
        own = tf.square(tf.linalg.global_norm(gradients[-shards:]))
        others = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)
        norm = tf.sqrt(tf.square(norm) + others)
        gradients[0] += 0.0 * norm  # what overflows in one replica's rows is known to all, which skip the step together
    if clip_norm:
        return tf.clip_by_global_norm(gradients, clip_norm, use_norm=norm)[0], norm
    return gradients, norm
