"""Optimizers whose rate differs by variable, and which variables a weight decay takes."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from trainer_module.heads import Head
from trainer_module.optimization.schedules import LearningRate
from trainer_module.settings import TrainSettings


class LayerwiseSGD(tf_keras.optimizers.SGD):
    """SGD with momentum, at another rate for some variables, that touches only the rows which have a gradient.

    Keras lets the momentum of all rows fade: at 10 million identities 20 GB read and written a step. Here a row's fades
    when it is drawn, as in Partial FC. A gradient over all rows is applied as Keras does, by one operation for five.
    """

    def __init__(self, settings: TrainSettings, slow: Iterable[tf.Variable]) -> None:
        """Makes it.

        Args:
          settings: of the training.
          slow: the variables that have `train.backbone_rate` times the rate.
        """
        super().__init__(LearningRate(settings), momentum=settings.momentum)
        self._factor = settings.backbone_rate
        self._slow = frozenset(map(self._var_key, slow))

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Applies one gradient; the rows of an IndexedSlices are different ones."""
        factor = self._factor if self._var_key(variable) in self._slow else 1.0
        if not self.momentum:
            super().update_step(factor * gradient if factor != 1.0 else gradient, variable)
            return
        rate = factor * tf.cast(self.learning_rate, variable.dtype)
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


class LayerwiseAdamW(tf_keras.optimizers.Adam):
    """AdamW (Loshchilov & Hutter, arXiv:1711.05101), at another rate for some variables, which may begin later.

    Moments begin at 0, which Adam corrects by the number of steps. For variables that were frozen these are the steps
    since then: by all steps, their first ones would be up to 6 times too long.
    """

    def __init__(self, settings: TrainSettings, slow: Iterable[tf.Variable], decays: Iterable[tf.Variable]) -> None:
        """Makes it.

        Args:
          settings: of the training.
          slow: the variables that have `train.backbone_rate` times the rate, and begin after `train.freeze_steps`.
          decays: those that `train.weight_decay` takes, times their rate.
        """
        super().__init__(LearningRate(settings))
        self._factor, self._begin, self._decay = settings.backbone_rate, settings.freeze_steps, settings.weight_decay
        self._slow, self._decays = (frozenset(map(self._var_key, variables)) for variables in (slow, decays))

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Applies one gradient, float32 of the variable's shape."""
        key = self._var_key(variable)
        factor, begin = (self._factor, self._begin) if key in self._slow else (1.0, 0)
        rate = factor * self.learning_rate
        if key in self._decays:
            variable.assign_sub(variable * self._decay * rate)
        # Steps that float16 skips aren't among the iterations: then the first few may count as the first one.
        steps = tf.cast(tf.maximum(self.iterations + 1 - begin, 1), tf.float32)
        corrected = rate * tf.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
        place = self._index_dict[key]
        mean, square = self._momentums[place], self._velocities[place]
        mean.assign_add((gradient - mean) * (1 - self.beta_1))
        square.assign_add((tf.square(gradient) - square) * (1 - self.beta_2))
        variable.assign_sub(mean * corrected / (tf.sqrt(square) + self.epsilon))


def create_optimizer(
    settings: TrainSettings, backbone: tf_keras.Model, head: Head, slow: Sequence[tf.Variable]
) -> tf_keras.optimizers.Optimizer:
    """The optimizer of a training, its slots made and empty.

    Args:
      settings: of the training.
      backbone: of the training.
      head: of the training.
      slow: the variables of the backbone that `train.backbone_rate` and `train.freeze_steps` are for.
    """
    with _aggregating():
        if settings.optimizer == "adamw":
            optimizer = LayerwiseAdamW(settings, slow, [*decayed(backbone), *head.trainable_variables])
        else:
            optimizer = LayerwiseSGD(settings, slow)
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
