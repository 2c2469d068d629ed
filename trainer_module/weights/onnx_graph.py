"""Translates an ONNX file into the importers' graph."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from trainer_module.weights import onnx_file
from trainer_module.weights.graph import INPUT, Affine, Array, Graph, Node, WeightImportError, unfold

_DEFAULT_EPSILON = 1e-5  # of BatchNormalization in ONNX
_SCALARS: dict[str, Any] = {"Sub": "sub", "Add": "add", "Mul": "mul", "Div": "div"}


class _Translator:
    """Walks the nodes in order; each tensor is an array of the file or a translated node's output."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.affine = Affine()
        self.translated: list[Node] = []
        self.values: dict[str, str] = {}
        self.scalars: set[str] = set()  # arrays that became part of `affine`
        self.arrays = {
            tensor.name: Array(tensor.name, onnx.numpy_helper.to_array(tensor)) for tensor in graph.initializer
        }

    def array(self, node: onnx.NodeProto, position: int, role: str) -> Array:
        """The array at an input, as float32."""
        name = node.input[position] if position < len(node.input) else ""
        if name not in self.arrays:
            raise _error(node, f"input {position} ({role}) must be an array", repr(name))
        found = self.arrays[name]
        if not found.values.size:
            raise _error(node, f"input {position} ({role}) must hold values", f"{name} {list(found.values.shape)}")
        return Array(found.source, np.asarray(found.values, np.float32))

    def value(self, node: onnx.NodeProto, position: int = 0) -> str:
        """The value at an input that is no array."""
        name = node.input[position]
        if name not in self.values:
            raise _error(node, f"input {position} must be the image or a layer's output", repr(name))
        return self.values[name]

    def add(self, kind: Any, node: onnx.NodeProto, inputs: tuple[str, ...], **fields: Any) -> str:
        """Appends a node; the output tensor is its name, which ONNX keeps unique (node names may be empty)."""
        self.translated.append(Node(kind, node.output[0], node.op_type, inputs, **fields))
        return node.output[0]

    def scalar(self, node: onnx.NodeProto) -> str:
        """Sub, Mul, Div or Add with one number: only on the image, where it normalises the pixels."""
        swapped = node.op_type in ("Add", "Mul") and node.input[0] in self.arrays
        value = self.value(node, int(swapped))
        array = self.array(node, int(not swapped), "scalar")
        if value != INPUT or array.values.size != 1:
            received = f"{value} and {array.source} {list(array.values.shape)}"
            raise _error(node, "its operands must be the image and one number", received)
        self.scalars.add(array.source)
        self.affine.apply(_SCALARS[node.op_type], float(array.values.reshape(())))
        return value


def _error(node: onnx.NodeProto, expected: str, received: object) -> WeightImportError:
    return WeightImportError(f"{node.op_type} {node.name or node.output[0]}: {expected}. Received: {received}")


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _same(node: onnx.NodeProto, name: str, values: list[int]) -> int:
    if len(set(values)) != 1:
        raise _error(node, f"{name} must be the same in all directions", values)
    return values[0]


def _expect(node: onnx.NodeProto, name: str, default: Any, expected: Any) -> None:
    value = _attributes(node).get(name, default)
    if value != expected:
        raise _error(node, f"{name} must be {expected!r}", repr(value))


def _conv(to: _Translator, node: onnx.NodeProto) -> str:
    _expect(node, "dilations", [1, 1], [1, 1])
    _expect(node, "auto_pad", b"NOTSET", b"NOTSET")
    attributes = _attributes(node)
    arrays = {"kernel": to.array(node, 1, "kernel")}
    if len(node.input) > 2:
        arrays["bias"] = to.array(node, 2, "bias")
    return to.add(
        "conv",
        node,
        (to.value(node),),
        arrays=arrays,
        stride=_same(node, "strides", attributes.get("strides", [1, 1])),
        pad=_same(node, "pads", attributes.get("pads", [0, 0, 0, 0])),
        groups=attributes.get("group", 1),
    )


def _batch_norm(to: _Translator, node: onnx.NodeProto) -> str:
    _expect(node, "training_mode", 0, 0)
    roles = ("gamma", "beta", "mean", "variance")
    arrays = {role: to.array(node, position, role) for position, role in enumerate(roles, start=1)}
    # The file holds float32: 1e-5 comes back as 9.99999975e-06, and is meant to be the short number.
    epsilon = float(str(np.float32(_attributes(node).get("epsilon", _DEFAULT_EPSILON))))
    return to.add("norm", node, (to.value(node),), arrays=arrays, epsilon=epsilon)


def _prelu(to: _Translator, node: onnx.NodeProto) -> str:
    return to.add("prelu", node, (to.value(node),), arrays={"slope": to.array(node, 1, "slope")})


def _gemm(to: _Translator, node: onnx.NodeProto) -> str:
    for name, default, expected in (("alpha", 1.0, 1.0), ("beta", 1.0, 1.0), ("transA", 0, 0)):
        _expect(node, name, default, expected)
    kernel = to.array(node, 1, "kernel")
    if not _attributes(node).get("transB", 0):
        kernel = Array(kernel.source, kernel.values.T)
    arrays = {"kernel": kernel}
    if len(node.input) > 2:
        arrays["bias"] = to.array(node, 2, "bias")
    return to.add("dense", node, (to.value(node),), arrays=arrays)


def _matmul(to: _Translator, node: onnx.NodeProto) -> str:
    kernel = to.array(node, 1, "kernel")
    return to.add("dense", node, (to.value(node),), arrays={"kernel": Array(kernel.source, kernel.values.T)})


def _add(to: _Translator, node: onnx.NodeProto) -> str:
    """An addition of two layers, a bias after MatMul, or a scalar on the image."""
    if all(name in to.values for name in node.input):
        return to.add("add", node, (to.value(node, 0), to.value(node, 1)))
    swapped = node.input[0] in to.arrays
    value = to.value(node, int(swapped))
    last = to.translated[-1] if to.translated else None
    if last is not None and last.name == value and last.kind == "dense" and "bias" not in last.arrays:
        to.translated.pop()
        arrays = {**last.arrays, "bias": to.array(node, int(not swapped), "bias")}
        return to.add("dense", node, last.inputs, arrays=arrays)
    return to.scalar(node)


def _flatten(to: _Translator, node: onnx.NodeProto) -> str:
    _expect(node, "axis", 1, 1)
    return to.value(node)


_OPERATORS: dict[str, Callable[[_Translator, onnx.NodeProto], str]] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "PRelu": _prelu,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Flatten": _flatten,
    **dict.fromkeys(("Sub", "Mul", "Div"), _Translator.scalar),
    # A Reshape can only be the flattening before the fully connected layer: its kernel's shape is checked.
    **dict.fromkeys(("Reshape", "Dropout", "Identity", "Cast"), lambda to, node: to.value(node)),
}


def _constant(to: _Translator, node: onnx.NodeProto) -> bool:
    """Evaluates a node that depends on arrays only; False if it is another.

    Exporters share equal arrays through Identity, and give a slope its [C, 1, 1] by Unsqueeze or Reshape; the
    importer compares a slope's size only, so those two keep the array as it is.
    """
    if node.op_type == "Constant":
        (value,) = _attributes(node).values()
        values = onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
        to.arrays[node.output[0]] = Array(node.output[0], values)
        return True
    if not node.input or node.input[0] not in to.arrays:
        return False
    array = to.arrays[node.input[0]]
    if node.op_type == "Transpose":
        array = Array(array.source, array.values.transpose(_attributes(node).get("perm")))
    elif node.op_type not in ("Identity", "Unsqueeze", "Reshape", "Cast"):
        return False
    to.arrays[node.output[0]] = array
    return True


def _needed(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """The nodes that the output depends on, in order; what only computes a Reshape's shape is left out."""
    wanted, needed = {output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input[:1] if node.op_type == "Reshape" else node.input)
            needed.append(node)
    return needed[::-1]


def _array_names(graph: onnx.GraphProto, needed: list[onnx.NodeProto], scalars: set[str]) -> frozenset[str]:
    """Names of the floating point arrays that must find a place: all but those that only a cut-off part reads."""
    read = {name for node in graph.node for name in node.input}
    read_by_needed = {name for node in needed for name in node.input}
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    names = {tensor.name for tensor in graph.initializer if tensor.data_type in floats}
    return frozenset(name for name in names if name in read_by_needed or name not in read) - scalars


def read_graph(path: str | os.PathLike[str], *, output: str | None = None) -> Graph:
    """Reads an ONNX file, with its external data if there is any.

    Args:
      path: the file.
      output: name of the tensor that holds the embedding; the file's only output if None.

    Returns:
      The graph, folded batch norms put back; node names are those of output tensors.

    Raises:
      WeightImportError: no such format, several outputs or images and none named, an operator that no backbone here
        has, or a setting that cannot be kept.
      OSError: the file cannot be read.
    """
    path = Path(path)
    graph = onnx_file.load(path).graph
    outputs = [value.name for value in graph.output]
    to = _Translator(graph)
    images = [value.name for value in graph.input if value.name not in to.arrays]
    if len(images) != 1 or (output is None and len(outputs) != 1):
        raise WeightImportError(
            f"{path.name}: expected one image in and one embedding out. Received: in {images}, out {outputs}"
        )
    output = output or outputs[0]
    to.values[images[0]] = INPUT
    needed = _needed(graph, output)
    for node in needed:
        if _constant(to, node):
            continue
        if node.op_type not in _OPERATORS:
            raise _error(node, f"operators must be among {', '.join(_OPERATORS)}", node.op_type)
        to.values[node.output[0]] = _OPERATORS[node.op_type](to, node)
    if output not in to.values:
        raise WeightImportError(f"{path.name}: expected a tensor {output!r} to end at. Received: no such name")
    translated, last = unfold(to.translated, to.values[output])
    return Graph(translated, last, _array_names(graph, needed, to.scalars), to.affine)
