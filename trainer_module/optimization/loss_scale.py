"""Loss scaling: a loss times a large number, so that float16 holds its small gradients.

The optimizer chooses the number: it skips a step whose gradient isn't finite and halves it, and doubles it after 2,000
good steps.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

_Scaling = tf_keras.mixed_precision.LossScaleOptimizer


def scale_of(optimizer: tf_keras.optimizers.Optimizer) -> tf.Tensor:
    """The number, float32 scalar; 1 of an optimizer that scales nothing."""
    return optimizer.loss_scale if isinstance(optimizer, _Scaling) else tf.constant(1.0)


def scaled(optimizer: tf_keras.optimizers.Optimizer, loss: tf.Tensor) -> tf.Tensor:
    """The loss to differentiate."""
    return optimizer.get_scaled_loss(loss) if isinstance(optimizer, _Scaling) else loss


def summed(
    optimizer: tf_keras.optimizers.Optimizer,
    gradients: Sequence[Any],
    variables: Sequence[tf.Variable],
    shards: Sequence[tf.Variable],
) -> list[tuple[Any, tf.Variable]]:
    """The gradients of the loss from those of the scaled one, each with its variable.

    They are summed over replicas, but for those of shards, which are whole. Shards are the last of the variables.
    """
    if isinstance(optimizer, _Scaling):
        gradients, optimizer = optimizer.get_unscaled_gradients(gradients), optimizer.inner_optimizer
    pairs = list(zip(gradients, variables, strict=True))
    shared = len(pairs) - len(shards)
    return [*optimizer.aggregate_gradients(pairs[:shared]), *pairs[shared:]]
