"""Runs a network's steps by TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from serving.inference import keras_steps, steps
from serving.inference.folding import fold


class InferenceNetwork:
    """A backbone as it is served: float32 [N, 112, 112, 3] normalised -> float32 [N, D] raw embedding.

    Attributes:
      network: its steps.
      variables: all weights by "step/weight", which a SavedModel keeps; those of a user's own layers by number.
    """

    def __init__(self, backbone: tf_keras.Model) -> None:
        """Folds a backbone; its weights are copied.

        Args:
          backbone: float32 [N, 112, 112, 3] -> float32 [N, D].
        """
        self.network = fold(keras_steps.read(backbone))
        # Variables, not constants: of these each signature would have its own copy. They cost no time.
        self.variables = {
            name: tf.Variable(array, trainable=False, name=name) for name, array in self.network.arrays().items()
        }
        for step in self.network.steps.values():
            if isinstance(step, steps.Foreign):
                self.variables |= {f"{step.name}/{i}": v for i, v in enumerate(step.layer.variables)}

    def __call__(self, pixels: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds; `training` is there because Keras's models have it.

        Raises:
          ValueError: asked to train.
        """
        if training:
            raise ValueError("A network for inference doesn't train. Received: training=True")
        results = {steps.INPUT: pixels}
        for step in self.network.steps.values():
            if step.name != steps.INPUT:
                inputs = [results[name] for name in step.inputs]
                results[step.name] = _RUN[type(step)](step, inputs, self._weights(step))
        return results[self.network.output.name]

    def _weights(self, step: steps.Step) -> dict[str, tf.Variable]:
        return {name: self.variables[f"{step.name}/{name}"] for name in step.weights}


_Inputs = Sequence[tf.Tensor]
_Weights = dict[str, tf.Variable]


def _convolve(step: steps.Convolution, inputs: _Inputs, weights: _Weights) -> tf.Tensor:
    [x] = inputs
    kernel = tf.convert_to_tensor(weights["kernel"])
    size, _, group, filters = kernel.shape
    pads: Any = [(0, 0), *step.pads, (0, 0)]
    if not any(sum(pad) for pad in pads):
        pads = "VALID"
    elif step.stride == 1 and set(step.pads) == {(size // 2, size // 2)}:
        pads = "SAME"
    if step.groups == 1:
        y = tf.nn.conv2d(x, kernel, step.stride, pads)
    else:
        # Input channel c = g * C / groups + i feeds the outputs g * F / groups + o: see `GroupedConv2D`.
        each = filters // step.groups
        apart = tf.reshape(kernel, (size, size, group, step.groups, each))
        apart = tf.reshape(tf.transpose(apart, (0, 1, 3, 2, 4)), (size, size, group * step.groups, each))
        if not isinstance(pads, str):
            # TensorFlow 2.21 loses a depthwise convolution's explicit pads where oneDNN takes its bias in: SIGABRT.
            x, pads = tf.pad(x, pads), "VALID"
        y = tf.nn.depthwise_conv2d(x, apart, (1, step.stride, step.stride, 1), pads)
        if group > 1:
            y = tf.reshape(y, (-1, *step.shape[:2], step.groups, group, each))
            y = tf.reshape(tf.reduce_sum(y, axis=-2), (-1, *step.shape))
    bias = weights.get("bias")
    if bias is None:
        return y
    return tf.nn.bias_add(y, bias) if len(bias.shape) == 1 else y + bias


def _dense(step: steps.Dense, inputs: _Inputs, weights: _Weights) -> tf.Tensor:
    return tf.nn.bias_add(tf.linalg.matmul(inputs[0], weights["kernel"]), weights["bias"])


def _scale(step: steps.Scale, inputs: _Inputs, weights: _Weights) -> tf.Tensor:
    return inputs[0] * weights["scale"] + weights["offset"]


def _prelu(step: steps.Prelu, inputs: _Inputs, weights: _Weights) -> tf.Tensor:
    [x] = inputs
    if (step.weights["slope"] <= 1).all():  # two passes over the map in place of Keras's five
        return tf.maximum(x, x * weights["slope"])
    return tf.maximum(x, 0.0) + tf.minimum(x, 0.0) * weights["slope"]


def _group_norm(step: steps.GroupNorm, inputs: _Inputs, weights: _Weights) -> tf.Tensor:
    [x] = inputs
    *places, channels = step.shape
    grouped = tf.reshape(x, (-1, *places, step.groups, channels // step.groups))
    axes = [*range(1, len(places) + 1), len(places) + 2]
    mean, variance = tf.nn.moments(grouped, axes, keepdims=True)
    normal = (grouped - mean) * tf.math.rsqrt(variance + step.epsilon)
    return tf.reshape(normal, (-1, *step.shape)) * weights["scale"] + weights["offset"]


def _foreign(step: steps.Foreign, inputs: _Inputs, weights: _Weights) -> tf.Tensor:
    if step.node is None:
        return step.layer(*inputs, training=False)
    tensors: dict[str, list[tf.Tensor]] = {}
    for key, value in zip(step.node.flat_input_ids, inputs, strict=True):
        tensors.setdefault(key, []).append(value)
    arguments, options = step.node.map_arguments(tensors)
    if step.layer._expects_training_arg:
        options = {**options, "training": False}
    return step.layer(*arguments, **options)


_RUN: dict[type[steps.Step], Callable[..., tf.Tensor]] = {
    steps.Convolution: _convolve,
    steps.Dense: _dense,
    steps.Scale: _scale,
    steps.Prelu: _prelu,
    steps.Add: lambda step, inputs, weights: tf.add_n(inputs) if len(inputs) > 2 else tf.add(*inputs),
    steps.Flatten: lambda step, inputs, weights: tf.reshape(inputs[0], (-1, *step.shape)),
    steps.GroupNorm: _group_norm,
    steps.Foreign: _foreign,
}
