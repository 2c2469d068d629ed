"""Optimizers, and which variables a weight decay takes."""

from typing import Any

import tensorflow as tf
import tf_keras

from trainer_module.heads import Head
from trainer_module.optimization.schedules import LearningRate
from trainer_module.settings import TrainSettings


class RowwiseSGD(tf_keras.optimizers.SGD):
    """SGD with momentum that touches only the rows of a variable which have a gradient.

    Keras lets the momentum of all rows fade: at 10 million identities 20 GB read and written a step. Here a row's fades
    when it is drawn, as in Partial FC. A gradient over all rows is applied as Keras does, by one operation for five.
    """

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Applies one gradient; the rows of an IndexedSlices are different ones."""
        if not self.momentum:
            super().update_step(gradient, variable)
            return
        rate = tf.cast(self.learning_rate, variable.dtype)
        momentum = self.momentums[self._index_dict[self._var_key(variable)]]
        if not isinstance(gradient, tf.IndexedSlices):
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle, accum=momentum.handle, lr=rate, grad=gradient, momentum=self.momentum
            )
            return
        rows = gradient.indices
        moved = self.momentum * tf.gather(momentum, rows) - rate * gradient.values
        momentum.scatter_update(tf.IndexedSlices(moved, rows))
        variable.scatter_add(tf.IndexedSlices(moved, rows))


def create_optimizer(settings: TrainSettings, backbone: tf_keras.Model, head: Head) -> tf_keras.optimizers.Optimizer:
    """The optimizer of a training, its slots made and empty."""
    clip_norm = settings.clip_norm or None
    rate = LearningRate(settings)
    if settings.optimizer == "adamw":
        optimizer = tf_keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, global_clipnorm=clip_norm)
        taken = {id(v) for v in decayed(backbone)} | {id(v) for v in head.trainable_variables}
        optimizer.exclude_from_weight_decay([v for v in backbone.trainable_variables if id(v) not in taken])
    else:
        optimizer = RowwiseSGD(rate, momentum=settings.momentum, global_clipnorm=clip_norm)
    if settings.precision == "mixed_float16":
        optimizer = tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
    optimizer.build([*backbone.trainable_variables, *head.trainable_variables])
    return optimizer


def decayed(backbone: tf_keras.Model) -> list[tf.Variable]:
    """Kernels alone: decaying a bias, a batch-norm's gamma or a PReLU's slope only costs accuracy (He et al., 2019)."""
    return [v for v in backbone.trainable_variables if "kernel" in v.name.rsplit("/", 1)[-1]]
