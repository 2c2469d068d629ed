"""Brings one foreign node's arrays into one layer's variables: transposes, folded batch norms, shape checks."""

import dataclasses
from typing import Any

import numpy as np
import tf_keras

from trainer_module.backbones.layers import GroupedConv2D
from trainer_module.weights.graph import Array, Node, WeightImportError


@dataclasses.dataclass(frozen=True)
class MappedArray:
    """Where one array went.

    Attributes:
      source: the array's name in the file; empty where the value is a constant that the file left out.
      source_shape: its shape there.
      target: the variable's name here; empty where the network ignores the array.
      target_shape: its shape here.
      note: what was done to the values.
    """

    source: str
    source_shape: tuple[int, ...]
    target: str
    target_shape: tuple[int, ...]
    note: str = ""

    def __str__(self) -> str:
        source = f"{self.source} {list(self.source_shape)}" if self.source else "(constant)"
        target = f"{self.target} {list(self.target_shape)}" if self.target else "(nothing)"
        return f"{source} -> {target}" + (f"  [{self.note}]" if self.note else "")


def assign(layer: tf_keras.layers.Layer, node: Node) -> list[MappedArray]:
    """Assigns a node's arrays to a layer's variables.

    Args:
      layer: a built convolution, BatchNormalization, PReLU, Dense or Add layer.
      node: the node that does the same.

    Returns:
      An entry for each variable and each array.

    Raises:
      WeightImportError: an array of another shape, or one that the layer has no variable for.
    """
    if node.kind == "norm":
        return _assign_norm(layer, node)
    mapped = []
    convert = {
        "conv": (_kernel_variable(layer), "kernel", _kernel),
        "prelu": (getattr(layer, "alpha", None), "slope", _slope),
        "dense": (getattr(layer, "kernel", None), "kernel", _dense),
    }
    arrays = dict(node.arrays)
    if node.kind in convert:
        variable, role, transform = convert[node.kind]
        array = arrays.pop(role)
        mapped.append(_set(variable, array, transform(layer, array)))
    if node.kind == "dense" and "bias" in arrays and layer.use_bias:
        bias = arrays.pop("bias")
        mapped.append(_set(layer.bias, bias, bias.values))
    for role, array in arrays.items():
        raise WeightImportError(f"{layer.name} has no {role}. Received: {array.source} of {node.op} {node.name}")
    return mapped


def _set(variable: Any, array: Array, values: np.ndarray, note: str = "") -> MappedArray:
    shape = tuple(variable.shape)
    if values.shape != shape:
        raise _shape_error(variable.name, shape, array)
    variable.assign(values)
    return MappedArray(array.source, array.values.shape, variable.name, shape, note)


def _shape_error(target: str, shape: tuple[int, ...], array: Array) -> WeightImportError:
    return WeightImportError(
        f"{target}: expected values for shape {list(shape)}. Received: {array.source} of shape "
        f"{list(array.values.shape)}"
    )


def _kernel_variable(layer: tf_keras.layers.Layer) -> Any:
    """The kernel of a convolution of any kind; None where the layer has none."""
    return getattr(layer, "depthwise_kernel", getattr(layer, "kernel", None))


def _kernel(layer: tf_keras.layers.Layer, array: Array) -> np.ndarray:
    """[F, C / groups, k, k] -> [k, k, C, F], depthwise [k, k, C, 1], grouped [k, k, C, F / groups]."""
    values = array.values
    if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
        return values.transpose(2, 3, 0, 1)
    if isinstance(layer, GroupedConv2D):
        filters, inputs, *size = values.shape
        if filters != layer.filters:  # before a reshape that would fail without a name
            raise _shape_error(layer.name, tuple(layer.kernel.shape), array)
        grouped = values.reshape(layer.groups, filters // layer.groups, inputs, *size)
        return grouped.transpose(3, 4, 0, 2, 1).reshape(*size, layer.groups * inputs, filters // layer.groups)
    return values.transpose(2, 3, 1, 0)


def _slope(layer: tf_keras.layers.Layer, array: Array) -> np.ndarray:
    """[C] or ONNX's [C, 1, 1] -> [1, 1, C]."""
    shape = array.values.shape
    if array.values.size != max(shape, default=0):
        raise _shape_error(layer.name, tuple(layer.alpha.shape), array)
    return array.values.reshape(1, 1, -1)


def _dense(layer: tf_keras.layers.Layer, array: Array) -> np.ndarray:
    """[D, C * H * W] -> [H * W * C, D]: MXNet and PyTorch flatten NCHW, this network NHWC."""
    flatten = layer.inbound_nodes[0].parent_nodes[0].layer
    _, height, width, channels = flatten.input_shape
    if array.values.shape != (layer.units, channels * height * width):
        raise _shape_error(layer.name, tuple(layer.kernel.shape), array)
    return array.values.reshape(layer.units, channels, height, width).transpose(2, 3, 1, 0).reshape(-1, layer.units)


def _assign_norm(layer: tf_keras.layers.Layer, node: Node) -> list[MappedArray]:
    """Gamma, beta, mean and variance, all [C].

    Where an exporter folded the normalisation away, gamma = 1, mean = 0 and variance = 1 - epsilon leave exactly
    x + beta: 1 - epsilon + epsilon rounds to 1 in float32, and so does the root.
    """
    constants = {
        "gamma": (layer.gamma, 1.0),
        "beta": (layer.beta, 0.0),
        "mean": (layer.moving_mean, 0.0),
        "variance": (layer.moving_variance, 1.0 - layer.epsilon),
    }
    mapped = []
    for role, (variable, constant) in constants.items():
        array = node.arrays.get(role)
        if variable is None:  # no gamma here: `recognise` saw to it that theirs is 1
            if array is not None:
                mapped.append(MappedArray(array.source, array.values.shape, "", (), "fixed at 1"))
        elif array is None:
            variable.assign(np.full(variable.shape, constant, np.float32))
            mapped.append(MappedArray("", (), variable.name, tuple(variable.shape), f"{constant:.9g}: folded"))
        else:
            values = np.ones_like(array.values) if array.fixed else array.values
            mapped.append(_set(variable, array, values, "fixed at 1" if array.fixed else ""))
    return mapped
