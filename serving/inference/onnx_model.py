"""A network as ONNX: what onnxruntime, OpenVINO and InsightFace's own classes read.

The input is `pixels`, float32 [N, 3, 112, 112], RGB, 0..255. What makes the network's own range of it are the nodes
`Sub` and `Mul`, by whose names InsightFace's `ArcFaceONNX` knows that the file does that itself. The output is `raw`,
float32 [N, D], not of length 1, as in InsightFace's files.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from serving.inference import steps

PIXELS, RAW = "pixels", "raw"
_OPSET, _IR = 17, 8  # of 2022: what reads ONNX at all reads these


def to_onnx(network: steps.Network, pixel_format: PixelFormat, facts: dict[str, str]) -> onnx.ModelProto:
    """Writes a network as ONNX.

    Args:
      network: folded or not.
      pixel_format: what it was trained with.
      facts: what the file says about itself, by a short name each.

    Returns:
      The model, checked by onnx.

    Raises:
      DataError: a user's own layer, which ONNX has no words for.
    """
    foreign = [f"{s.name} ({type(s.layer).__name__})" for s in network.steps.values() if isinstance(s, steps.Foreign)]
    if foreign:
        raise DataError(f"expected layers of this project's own, which ONNX has words for. Received: {foreign[0]}")
    writer = _Writer()
    height, width, channels = network.steps[steps.INPUT].shape
    writer.node("Sub", [PIXELS, writer.array("mean", np.array(pixel_format.mean, np.float32))], "Sub_mean")
    scaled = steps.INPUT if pixel_format.colour == "rgb" else "scaled"
    writer.node("Mul", ["Sub_mean", writer.array("scale", np.array(1 / pixel_format.scale))], "Mul_scale", scaled)
    if pixel_format.colour == "bgr":
        order = writer.array("order", np.array([2, 1, 0], np.int64))
        writer.node("Gather", [scaled, order], "reverse_colours", steps.INPUT, axis=1)
    for step in list(network.steps.values())[1:]:
        _WRITE[type(step)](writer, step)
    writer.node("Identity", [network.output.name], "output", RAW)
    graph = helper.make_graph(
        writer.nodes,
        facts.get("backbone", "network"),
        [helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, ["N", channels, height, width])],
        [helper.make_tensor_value_info(RAW, TensorProto.FLOAT, ["N", *network.output.shape])],
        writer.arrays,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR, producer_name="arcface-tfx"
    )
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Collects nodes and arrays."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: Iterable[str], name: str, output: str | None = None, **attributes: Any) -> str:
        """Adds a node; its output is called as it is, where no other name is given."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output or name], name=name, **attributes))
        return output or name

    def array(self, name: str, value: np.ndarray) -> str:
        """Adds an array, as float32 where it holds numbers of a network."""
        value = np.asarray(value)
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        self.arrays.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _of_channels(value: np.ndarray) -> np.ndarray:
    """[C] or [H, W, C] as ONNX has it beside [N, C, H, W]."""
    return value[:, None, None] if value.ndim == 1 else value.transpose(2, 0, 1)


def _convolution(writer: _Writer, step: steps.Convolution) -> None:
    kernel = step.weights["kernel"]
    bias = step.weights.get("bias")
    inputs = [*step.inputs, writer.array(f"{step.name}/kernel", kernel.transpose(3, 2, 0, 1))]
    is_map = bias is not None and bias.ndim == 3
    if bias is not None and not is_map:
        inputs.append(writer.array(f"{step.name}/bias", bias))
    (top, bottom), (left, right) = step.pads
    found = writer.node(
        "Conv",
        inputs,
        f"{step.name}/convolution" if is_map else step.name,
        kernel_shape=kernel.shape[:2],
        strides=[step.stride, step.stride],
        pads=[top, left, bottom, right],
        group=step.groups,
    )
    if bias is not None and is_map:
        writer.node("Add", [found, writer.array(f"{step.name}/bias", _of_channels(bias)[None])], step.name)


def _dense(writer: _Writer, step: steps.Dense) -> None:
    weights = [writer.array(f"{step.name}/{name}", step.weights[name]) for name in ("kernel", "bias")]
    writer.node("Gemm", [*step.inputs, *weights], step.name)


def _scale(writer: _Writer, step: steps.Scale | steps.GroupNorm, source: str | None = None) -> None:
    """Times a scale, plus an offset, of each channel."""
    names = [
        writer.array(f"{step.name}/{name}", value if len(step.shape) == 1 else _of_channels(value))
        for name, value in step.weights.items()
    ]
    scaled = writer.node("Mul", [source or step.inputs[0], names[0]], f"{step.name}/scaled")
    writer.node("Add", [scaled, names[1]], step.name)


def _prelu(writer: _Writer, step: steps.Prelu) -> None:
    slope = step.weights["slope"]
    slope = slope if len(step.shape) == 1 else _of_channels(slope)
    writer.node("PRelu", [*step.inputs, writer.array(f"{step.name}/slope", slope)], step.name)


def _flatten(writer: _Writer, step: steps.Flatten) -> None:
    """In the order of NHWC, which the fully connected layer behind it has."""
    turned = writer.node("Transpose", step.inputs, f"{step.name}/nhwc", perm=[0, 2, 3, 1])
    writer.node("Flatten", [turned], step.name)


def _group_norm(writer: _Writer, step: steps.GroupNorm) -> None:
    """By instance norm over groups: ONNX's own group norm came with opset 21 as it is meant here."""
    *places, channels = step.shape
    apart = writer.array(f"{step.name}/apart", np.array([0, step.groups, -1], np.int64))
    together = writer.array(f"{step.name}/together", np.array([-1, channels, *places], np.int64))
    one, zero = (
        writer.array(f"{step.name}/{name}", np.full(step.groups, value, np.float32))
        for name, value in (("one", 1), ("zero", 0))
    )
    grouped = writer.node("Reshape", [*step.inputs, apart], f"{step.name}/groups")
    normal = writer.node(
        "InstanceNormalization", [grouped, one, zero], f"{step.name}/normal", epsilon=float(step.epsilon)
    )
    _scale(writer, step, writer.node("Reshape", [normal, together], f"{step.name}/channels"))


def _add(writer: _Writer, step: steps.Add) -> None:
    writer.node("Add" if len(step.inputs) == 2 else "Sum", step.inputs, step.name)


_WRITE: dict[type[steps.Step], Callable[[_Writer, Any], None]] = {
    steps.Convolution: _convolution,
    steps.Dense: _dense,
    steps.Scale: _scale,
    steps.Prelu: _prelu,
    steps.Add: _add,
    steps.Flatten: _flatten,
    steps.GroupNorm: _group_norm,
}
