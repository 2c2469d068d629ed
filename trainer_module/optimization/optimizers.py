"""Optimizers, and which variables a weight decay takes."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
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
    rate = LearningRate(settings)
    with _aggregating():
        if settings.optimizer == "adamw":
            optimizer = tf_keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
        else:
            optimizer = RowwiseSGD(rate, momentum=settings.momentum)
    if settings.optimizer == "adamw":
        taken = {id(v) for v in decayed(backbone)} | {id(v) for v in head.trainable_variables}
        optimizer.exclude_from_weight_decay([v for v in backbone.trainable_variables if id(v) not in taken])
    if settings.precision == "mixed_float16":
        optimizer = tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
    optimizer.build([*backbone.trainable_variables, *head.trainable_variables])
    return optimizer


@contextlib.contextmanager
def _aggregating() -> Iterator[None]:
    """Lets replicas write the learning rate, which Keras keeps in a variable, where variables lie in one place.

    CentralStorageStrategy refuses that of several replicas to a variable that doesn't say whose value counts.
    """
    if not isinstance(tf.distribute.get_strategy(), tf.distribute.experimental.CentralStorageStrategy):
        yield
        return

    def create(creator: Callable[..., tf.Variable], **options: Any) -> tf.Variable:
        return creator(**{**options, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA})

    with tf.variable_creator_scope(create):
        yield


def slots(optimizer: tf_keras.optimizers.Optimizer, variables: Sequence[tf.Variable]) -> list[tf.Variable]:
    """What an optimizer of `create_optimizer` keeps of some variables: momentum, or two moments, of the same shape."""
    if isinstance(optimizer, tf_keras.mixed_precision.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    kept = [getattr(optimizer, name, []) for name in ("momentums", "_momentums", "_velocities")]
    places = [optimizer._index_dict[optimizer._var_key(variable)] for variable in variables]
    return [of_all[place] for of_all in kept if of_all for place in places]


def decayed(backbone: tf_keras.Model) -> list[tf.Variable]:
    """Kernels alone: decaying a bias, a batch-norm's gamma or a PReLU's slope only costs accuracy (He et al., 2019)."""
    return [v for v in backbone.trainable_variables if "kernel" in v.name.rsplit("/", 1)[-1]]
