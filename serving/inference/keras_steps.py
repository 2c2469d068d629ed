"""Reads a tf_keras model as steps. What is no layer of ours stays a layer of Keras."""

import dataclasses
from typing import Any, TypeGuard

import numpy as np
import tf_keras

from serving.inference.steps import (
    INPUT,
    Add,
    Convolution,
    Dense,
    Flatten,
    Foreign,
    GroupNorm,
    Input,
    Network,
    Pads,
    Prelu,
    Scale,
    Step,
)
from trainer_module.backbones.layers import GroupedConv2D, PReLU

_layers = tf_keras.layers
_NO_PADS: Pads = ((0, 0), (0, 0))


def read(model: tf_keras.Model) -> Network:
    """Reads a backbone.

    Args:
      model: float32 [N, 112, 112, 3] -> float32 [N, D], with weights. Without a graph of layers it is one step.

    Returns:
      Its steps, as inference takes them: without dropout, padding as part of the convolution behind it.
    """
    steps: dict[str, Step] = {INPUT: Input(name=INPUT, inputs=(), shape=tuple(model.input_shape[1:]))}
    nodes = _nodes(model)
    if nodes is None:
        steps[model.name] = Foreign(name=model.name, inputs=(INPUT,), shape=tuple(model.output_shape[1:]), layer=model)
        return Network(steps)
    made = {nodes[0].flat_output_ids[0]: INPUT}
    for node in nodes[1:]:
        inputs = tuple(made[key] for key in node.flat_input_ids)
        if _does_nothing(node.layer):
            made[node.flat_output_ids[0]] = inputs[0]
            continue
        name = node.layer.name if node.layer.name not in steps else f"{node.layer.name}_{len(steps)}"
        steps[name] = _step(node, name, inputs, [steps[key].shape for key in inputs])
        made[node.flat_output_ids[0]] = name
    return Network(_used(_padded(steps)))


def _nodes(model: tf_keras.Model) -> list[Any] | None:
    """The calls of a model's layers, the input first; None for a model that isn't a graph of layers with one output."""
    by_depth = getattr(model, "_nodes_by_depth", None)
    if by_depth is None:
        return None
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    inputs = [node for node in nodes if node.is_input]
    one_each = all(len(node.flat_output_ids) == 1 for node in nodes)
    # The output is the last step only where nothing else is at its depth.
    if len(inputs) != 1 or not one_each or len(by_depth[0]) != 1:
        return None
    return inputs + [node for node in nodes if not node.is_input]


def _does_nothing(layer: tf_keras.layers.Layer) -> bool:
    """Whether inference can leave the layer out."""
    return type(layer) is _layers.Dropout or (type(layer) is _layers.Activation and _is_linear(layer))


def _is_linear(layer: Any) -> bool:
    return layer.activation is tf_keras.activations.linear


def _step(node: Any, name: str, inputs: tuple[str, ...], shapes: list[tuple[int, ...]]) -> Step:
    """The step that a call of a layer is."""
    layer = node.layer
    common: dict[str, Any] = {"name": name, "inputs": inputs, "shape": tuple(node.outputs.shape[1:])}
    kind = type(layer)
    if isinstance(layer, _layers.BatchNormalization) and _is_last(layer.axis, shapes[0]):
        return Scale(**common, weights=_batch_norm(layer))
    if isinstance(layer, _layers.GroupNormalization) and _is_last(layer.axis, shapes[0]):
        return GroupNorm(**common, weights=_affine(layer), groups=layer.groups, epsilon=layer.epsilon)
    if kind in (_layers.Conv2D, _layers.DepthwiseConv2D) and _is_plain(layer):
        return _convolution(layer, common, shapes[0])
    if kind is GroupedConv2D:
        size, _, channels, each = layer.kernel.shape
        grouped = _array(layer.kernel).reshape(size, size, layer.groups, channels // layer.groups, each)
        kernel = grouped.transpose(0, 1, 3, 2, 4).reshape(size, size, channels // layer.groups, layer.filters)
        return Convolution(**common, weights={"kernel": kernel}, stride=1, pads=_NO_PADS, groups=layer.groups)
    if kind is _layers.Dense and _is_linear(layer) and len(shapes[0]) == 1:
        return Dense(**common, weights={"kernel": _array(layer.kernel), "bias": _bias(layer, layer.units)})
    if kind in (_layers.PReLU, PReLU):
        slope = _array(layer.alpha)
        return Prelu(**common, weights={"slope": slope.reshape(slope.shape[-1]) if slope[..., 0].size == 1 else slope})
    if kind is _layers.Add and all(shape == shapes[0] for shape in shapes):
        return Add(**common)
    if kind is _layers.Flatten:
        return Flatten(**common)
    return Foreign(**common, layer=layer, node=node)


def _is_plain(layer: Any) -> bool:
    """Whether a convolution is one of ours: square, without dilation or groups of its own, channels last."""
    square = len({*layer.kernel_size}) == 1 and len({*layer.strides}) == 1
    undilated = tuple(layer.dilation_rate) == (1, 1) and layer.data_format == "channels_last"
    return square and undilated and layer.groups == 1 and _is_linear(layer)


def _convolution(layer: Any, common: dict[str, Any], shape: tuple[int, ...]) -> Convolution:
    """A convolution or a depthwise one, whose kernel [k, k, C, M] becomes [k, k, 1, C * M]."""
    [size, _], [stride, _] = layer.kernel_size, layer.strides
    is_depthwise = isinstance(layer, _layers.DepthwiseConv2D)
    kernel = _array(layer.depthwise_kernel if is_depthwise else layer.kernel)
    weights = {"kernel": kernel.reshape(size, size, 1, -1) if is_depthwise else kernel}
    if layer.use_bias:
        weights["bias"] = _array(layer.bias)
    pads = _NO_PADS
    if layer.padding == "same":
        (top, left), (bottom, right) = zip(*(_same(side, size, stride) for side in shape[:2]), strict=True)
        pads = ((top, bottom), (left, right))
    return Convolution(**common, weights=weights, stride=stride, pads=pads, groups=shape[-1] if is_depthwise else 1)


def _same(side: int, size: int, stride: int) -> tuple[int, int]:
    """What TensorFlow's "same" pads a side of the input by, before and after."""
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    return total // 2, total - total // 2


def _padded(steps: dict[str, Step]) -> dict[str, Step]:
    """Zero padding as part of the convolutions behind it."""
    padded = {}
    for step in steps.values():
        before = steps.get(step.inputs[0]) if step.inputs else None
        if isinstance(step, Convolution) and _is_zero_padding(before):
            (top, bottom), (left, right) = before.layer.padding
            (more_top, more_bottom), (more_left, more_right) = step.pads
            pads = ((top + more_top, bottom + more_bottom), (left + more_left, right + more_right))
            step = dataclasses.replace(step, pads=pads, inputs=before.inputs)
        padded[step.name] = step
    return padded


def _is_zero_padding(step: Step | None) -> TypeGuard[Foreign]:
    return (
        isinstance(step, Foreign)
        and type(step.layer) is _layers.ZeroPadding2D
        and step.layer.data_format == "channels_last"
    )


def _used(steps: dict[str, Step]) -> dict[str, Step]:
    """The steps that the last one rests on."""
    used = {INPUT, next(reversed(steps))}
    for step in reversed(steps.values()):
        used |= set(step.inputs) if step.name in used else set()
    return {name: step for name, step in steps.items() if name in used}


def _is_last(axis: Any, shape: tuple[int, ...]) -> bool:
    [axis] = axis if isinstance(axis, list | tuple) else [axis]
    return axis in (-1, len(shape))


def _batch_norm(layer: tf_keras.layers.BatchNormalization) -> dict[str, np.ndarray]:
    """What batch norm of moving statistics multiplies by and adds, batch renormalisation's, too."""
    affine = _affine(layer)
    scale = affine["scale"] / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
    return {"scale": scale, "offset": affine["offset"] - _array(layer.moving_mean) * scale}


def _affine(layer: Any) -> dict[str, np.ndarray]:
    """Gamma and beta of a normalisation; 1 and 0 where it learns none."""
    known = layer.gamma if layer.scale else layer.beta
    size = known.shape[0] if known is not None else layer.input_spec.axes[max(layer.input_spec.axes)]
    gamma = _array(layer.gamma) if layer.scale else np.ones(size)
    return {"scale": gamma, "offset": _array(layer.beta) if layer.center else np.zeros(size)}


def _bias(layer: Any, size: int) -> np.ndarray:
    return _array(layer.bias) if layer.use_bias else np.zeros(size)


def _array(variable: Any) -> np.ndarray:
    return np.asarray(variable.numpy(), np.float64)
