"""The normalisation layers that a backbone can be built with.

`batch` is the published recipe. `sync_batch` makes N replicas behave as one with an N times larger batch,
`batch_renorm` suits batches of 16 images a replica, `group` needs no batch at all (and keeps no moving statistics; but
all raw embeddings then have one length, so that `norm` says nothing about quality).
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras

_CHANNELS_PER_GROUP = 16  # Wu and He 2018, table 3: 16 channels a group is as good as 32 groups, and fits every width


class _ClippingSchedule:
    """What tf_keras asks for as `renorm_clipping`, read from the layer's step counter each time.

    No Mapping by type: tf_keras would flatten one when it becomes an attribute, before there is a counter.
    """

    def __init__(self, layer: "BatchRenormalization") -> None:
        self._layer = layer

    def __iter__(self) -> Iterator[str]:
        return iter(("rmin", "rmax", "dmax"))

    def get(self, key: str) -> tf.Tensor:
        """The limit of that name, a scalar."""
        return self._layer.clipping()[key]


@tf_keras.saving.register_keras_serializable("arcface_tfx")
class BatchRenormalization(tf_keras.layers.BatchNormalization):
    """Batch renormalisation whose limits open slowly: plain batch norm at first (Ioffe 2017, section 4.1).

    With full limits from step 0 training diverges at a learning rate of 0.1: the moving averages that the correction
    refers to are still far off. Each layer counts its own training steps in a weight, so a restored checkpoint
    continues the schedule.

    Args:
      closed_steps: steps with r = 1 and d = 0, which is plain batch norm.
      rmax: the final limit of the scale correction, in [1 / rmax, rmax].
      rmax_step: the step at which `rmax` is reached, linearly from `closed_steps`.
      dmax: the final limit of the shift correction, in [-dmax, dmax].
      dmax_step: the step at which `dmax` is reached.
      **kwargs: of `tf_keras.layers.BatchNormalization`.

    Shapes: any [..., C] float -> the same.
    """

    def __init__(
        self,
        *,
        closed_steps: int = 5_000,
        rmax: float = 3.0,
        rmax_step: int = 40_000,
        dmax: float = 5.0,
        dmax_step: int = 25_000,
        **kwargs: Any,
    ) -> None:
        if not 0 <= closed_steps < min(rmax_step, dmax_step):
            raise ValueError(
                "closed_steps must be at least 0 and below rmax_step and dmax_step. "
                f"Received: closed_steps={closed_steps!r}, rmax_step={rmax_step!r}, dmax_step={dmax_step!r}"
            )
        super().__init__(renorm=True, renorm_clipping=_ClippingSchedule(self), **kwargs)
        self.closed_steps = closed_steps
        self.rmax = rmax
        self.rmax_step = rmax_step
        self.dmax = dmax
        self.dmax_step = dmax_step

    def build(self, input_shape: Any) -> None:
        """Adds the step counter to batch norm's weights."""
        self.step = self.add_weight(
            name="renorm_step",
            shape=(),
            dtype=tf.float32,
            initializer="zeros",
            trainable=False,
            experimental_autocast=False,  # the limits are compared with float32, whatever the network computes in
            # Written by each replica for itself: within a loop (`train.accumulate`) TensorFlow can't reduce over them.
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        super().build(input_shape)

    def clipping(self) -> dict[str, tf.Tensor]:
        """The limits at the current step: scalars rmin, rmax and dmax."""

        def opened(last_step: int) -> tf.Tensor:
            return tf.clip_by_value((self.step - self.closed_steps) / (last_step - self.closed_steps), 0.0, 1.0)

        rmax = 1.0 + (self.rmax - 1.0) * opened(self.rmax_step)
        return {"rmin": 1.0 / rmax, "rmax": rmax, "dmax": self.dmax * opened(self.dmax_step)}

    def call(self, inputs: tf.Tensor, training: bool | tf.Tensor | None = None) -> tf.Tensor:
        """Normalises, and counts the step when training."""
        outputs = super().call(inputs, training=training)
        self.step.assign_add(tf.cast(self._get_training_value(training), tf.float32))
        return outputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        config.pop("renorm")
        config.pop("renorm_clipping")
        own = ("closed_steps", "rmax", "rmax_step", "dmax", "dmax_step")
        return config | {name: getattr(self, name) for name in own}


def _group(channels: int, *, vector: bool, momentum: float, scale: bool, **kwargs: Any) -> tf_keras.layers.Layer:
    del momentum  # group norm keeps no moving statistics
    groups = 1 if vector or channels % _CHANNELS_PER_GROUP else channels // _CHANNELS_PER_GROUP
    return tf_keras.layers.GroupNormalization(groups=groups, scale=scale, **kwargs)


def _batch(channels: int, *, vector: bool, **kwargs: Any) -> tf_keras.layers.Layer:
    del channels, vector
    return tf_keras.layers.BatchNormalization(**kwargs)


def _sync_batch(channels: int, *, vector: bool, **kwargs: Any) -> tf_keras.layers.Layer:
    del channels, vector
    return tf_keras.layers.BatchNormalization(synchronized=True, **kwargs)


def _batch_renorm(channels: int, *, vector: bool, momentum: float, **kwargs: Any) -> tf_keras.layers.Layer:
    del channels, vector
    return BatchRenormalization(momentum=momentum, renorm_momentum=momentum, **kwargs)


_LAYERS = {"batch": _batch, "sync_batch": _sync_batch, "batch_renorm": _batch_renorm, "group": _group}
NAMES = tuple(_LAYERS)


def check(norm: str) -> str:
    """Returns `norm`; raises ValueError, naming the kinds, if there is no such normalisation."""
    if norm not in _LAYERS:
        raise ValueError(f"norm must be one of {', '.join(NAMES)}. Received: norm={norm!r}")
    return norm


def create(
    norm: str,
    *,
    channels: int,
    name: str,
    epsilon: float,
    momentum: float,
    scale: bool = True,
    vector: bool = False,
    dtype: str | None = None,
) -> tf_keras.layers.Layer:
    """Makes one normalisation layer over the last axis.

    Args:
      norm: one of `NAMES`.
      channels: size of the last axis; group norm takes 16 channels a group, or all where 16 does not divide them.
      name: the layer's name.
      epsilon: added to the variance.
      momentum: of the moving statistics, as in MXNet and Keras: `moving = momentum * moving + (1 - momentum) * batch`.
      scale: whether there is a learned gamma; without one it is fixed at 1 (MXNet's `fix_gamma`).
      vector: whether the input is [N, channels], the embedding. Group norm then takes all channels as one group: groups
        of 16 values, each brought to length 4, would leave an embedding little freedom.
      dtype: the layer's dtype policy, or None for the global one.

    Returns:
      A tf_keras layer: float [..., channels] -> the same shape.

    Raises:
      ValueError: an unknown `norm`.
    """
    layer = _LAYERS[check(norm)]
    return layer(channels, vector=vector, name=name, epsilon=epsilon, momentum=momentum, scale=scale, dtype=dtype)
