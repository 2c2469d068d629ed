"""Translates MXNet's `-symbol.json` and its arrays into the importers' graph, without MXNet."""

import ast
import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arcface_common import filesystem
from trainer_module.weights.graph import INPUT, Affine, Array, Graph, Node, WeightImportError, unfold

_DEFAULT_EPSILON = 1e-3  # of BatchNorm in MXNet, ten and a hundred times that of others
_IMAGE = "data"
_MAX_BYTES = 1 << 24  # ResNet100 takes 200 KB
_SCALARS: dict[str, Any] = {  # since MXNet 0.9, and before
    **{"_minus_scalar": "sub", "_plus_scalar": "add", "_mul_scalar": "mul", "_div_scalar": "div"},
    **{"_MinusScalar": "sub", "_PlusScalar": "add", "_MulScalar": "mul", "_DivScalar": "div"},
}
_TRANSPARENT = ("Dropout", "Flatten", "identity", "_copy", "BlockGrad")


@dataclasses.dataclass(frozen=True)
class _Raw:
    """One node of the JSON."""

    op: str
    name: str
    attributes: Mapping[str, str]
    inputs: tuple[int, ...]

    def get(self, key: str, default: Any) -> Any:
        """An attribute as a Python value: MXNet stores all of them as text."""
        text = self.attributes.get(key)
        if text is None:
            return default
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text

    def square(self, key: str, default: int) -> int:
        """An attribute of height and width, which must be equal."""
        pair = self.get(key, (default, default))
        if not isinstance(pair, tuple) or len(pair) != 2 or pair[0] != pair[1]:
            raise WeightImportError(f"{self.op} {self.name}: {key} must be a pair of equals. Received: {pair!r}")
        return pair[0]

    def expect(self, key: str, default: Any, expected: Any) -> None:
        """Raises if an attribute has another value."""
        value = self.get(key, default)
        if value != expected:
            raise WeightImportError(f"{self.op} {self.name}: {key} must be {expected!r}. Received: {value!r}")


def _load(path: Path) -> tuple[list[_Raw], int]:
    """The JSON's nodes, and the index of the first head."""
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise WeightImportError(f"{path.name}: expected at most {_MAX_BYTES:,} bytes. Received: {size:,} bytes")
    content = filesystem.read_file(str(path))
    try:
        symbol = json.loads(content)
        nodes = [
            # Attributes are called "param" before MXNet 0.9, "attr" before 1.0, "attrs" since.
            _Raw(
                node["op"],
                node["name"],
                {**node.get("attr", {}), **node.get("param", {}), **node.get("attrs", {})},
                tuple(entry[0] for entry in node["inputs"]),
            )
            for node in symbol["nodes"]
        ]
        head = symbol["heads"][0][0]
        if not 0 <= head < len(nodes) or any(max(node.inputs, default=-1) >= at for at, node in enumerate(nodes)):
            raise ValueError("an index of no earlier node")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise WeightImportError(f"{path.name}: expected MXNet's symbol in JSON. Received: {error!r}") from error
    return nodes, head


class _Translator:
    """Walks the nodes up to one output; a value is the name of the translated node that gives it."""

    def __init__(self, nodes: list[_Raw], params: Mapping[str, np.ndarray]) -> None:
        self.nodes = nodes
        self.params = params
        self.affine = Affine()
        self.translated: list[Node] = []
        self.values: dict[int, str] = {}

    def array(self, raw: _Raw, position: int, role: str, *, auxiliary: bool = False, fixed: bool = False) -> Array:
        """The array at an input; before MXNet 0.9 moving statistics are no inputs, but called after the node."""
        if position < len(raw.inputs):
            name = self.nodes[raw.inputs[position]].name
        elif auxiliary:
            name = f"{raw.name}_{role}"
        else:
            raise WeightImportError(f"{raw.op} {raw.name}: expected an input for its {role}. Received: none")
        key = f"{'aux' if auxiliary else 'arg'}:{name}"
        if key not in self.params:
            raise WeightImportError(f"{raw.op} {raw.name}: expected an array {key!r}. Received: a file without it")
        return Array(key, np.asarray(self.params[key], np.float32), fixed)

    def value(self, raw: _Raw, position: int = 0) -> str:
        """The value at an input that is no array."""
        index = raw.inputs[position] if position < len(raw.inputs) else None
        if index not in self.values:
            received = "no input" if index is None else f"the array {self.nodes[index].name!r}"
            raise WeightImportError(f"{raw.op} {raw.name}: expected the image or a layer. Received: {received}")
        return self.values[index]

    def add(self, kind: Any, raw: _Raw, inputs: tuple[str, ...], **fields: Any) -> str:
        """Appends a node."""
        self.translated.append(Node(kind, raw.name, raw.op, inputs, **fields))
        return raw.name

    def scalar(self, raw: _Raw) -> str:
        """A scalar operator: only between the image and the first weight, where it normalises the pixels."""
        value = self.value(raw)
        if value != INPUT:
            raise WeightImportError(f"{raw.op} {raw.name}: a scalar must be applied to the image. Received: {value}")
        self.affine.apply(_SCALARS[raw.op], float(raw.get("scalar", 0)))
        return value


def _convolution(to: _Translator, raw: _Raw) -> str:
    raw.expect("dilate", (1, 1), (1, 1))
    arrays = {"kernel": to.array(raw, 1, "weight")}
    if not raw.get("no_bias", False):
        arrays["bias"] = to.array(raw, 2, "bias")
    geometry = {"stride": raw.square("stride", 1), "pad": raw.square("pad", 0), "groups": raw.get("num_group", 1)}
    return to.add("conv", raw, (to.value(raw),), arrays=arrays, **geometry)


def _batch_norm(to: _Translator, raw: _Raw) -> str:
    raw.expect("axis", 1, 1)
    arrays = {
        "gamma": to.array(raw, 1, "gamma", fixed=bool(raw.get("fix_gamma", True))),
        "beta": to.array(raw, 2, "beta"),
        "mean": to.array(raw, 3, "moving_mean", auxiliary=True),
        "variance": to.array(raw, 4, "moving_var", auxiliary=True),
    }
    return to.add("norm", raw, (to.value(raw),), arrays=arrays, epsilon=float(raw.get("eps", _DEFAULT_EPSILON)))


def _prelu(to: _Translator, raw: _Raw) -> str:
    raw.expect("act_type", "leaky", "prelu")
    return to.add("prelu", raw, (to.value(raw),), arrays={"slope": to.array(raw, 1, "gamma")})


def _fully_connected(to: _Translator, raw: _Raw) -> str:
    raw.expect("flatten", True, True)
    arrays = {"kernel": to.array(raw, 1, "weight")}
    if not raw.get("no_bias", False):
        arrays["bias"] = to.array(raw, 2, "bias")
    return to.add("dense", raw, (to.value(raw),), arrays=arrays)


def _add(to: _Translator, raw: _Raw) -> str:
    return to.add("add", raw, (to.value(raw, 0), to.value(raw, 1)))


_OPERATORS: dict[str, Callable[[_Translator, _Raw], str]] = {
    "Convolution": _convolution,
    "BatchNorm": _batch_norm,
    "LeakyReLU": _prelu,
    "FullyConnected": _fully_connected,
    **dict.fromkeys(("elemwise_add", "broadcast_add", "_plus", "_Plus", "_add"), _add),
    **dict.fromkeys(_TRANSPARENT, lambda to, raw: to.value(raw)),
    **dict.fromkeys(_SCALARS, _Translator.scalar),
}


def read_symbol(path: str | os.PathLike[str], params: Mapping[str, np.ndarray], *, output: str | None = None) -> Graph:
    """Reads a symbol and joins it with its arrays.

    Args:
      path: the `-symbol.json`; the formats before MXNet 0.9, before 1.0 and since are read.
      params: of `mxnet_params.read_params`.
      output: name of the node that gives the embedding; the symbol's first output if None. A training checkpoint
        goes on after it (`fc7`): what lies behind is left out, with its arrays.

    Returns:
      The graph, folded batch norms put back.

    Raises:
      WeightImportError: no such format, no such output, an operator that no backbone here has, a missing array, or
        a setting that cannot be kept.
      OSError: the file cannot be read.
    """
    path = Path(path)
    nodes, head = _load(path)
    if output is not None:
        head = next((index for index, node in enumerate(nodes) if node.name == output), -1)
        if head < 0:
            raise WeightImportError(f"{path.name}: expected a node {output!r} to end at. Received: no such name")
    needed = {head}
    for index in range(head, -1, -1):  # nodes are stored in topological order
        if index in needed:
            needed.update(nodes[index].inputs)
    to = _Translator(nodes, params)
    for index in sorted(needed):
        raw = nodes[index]
        if raw.op == "null":
            if raw.name == _IMAGE:
                to.values[index] = INPUT
        elif raw.op in _OPERATORS:
            to.values[index] = _OPERATORS[raw.op](to, raw)
        else:
            known = ", ".join(_OPERATORS)
            raise WeightImportError(f"operators must be among {known}. Received: {raw.op} {raw.name}")
    if head not in to.values:
        raise WeightImportError(f"{path.name}: expected a layer to end at. Received: the array {nodes[head].name!r}")
    translated, last = unfold(to.translated, to.values[head])
    behind = {node.name for index, node in enumerate(nodes) if index not in needed}
    names = frozenset(name for name in params if name.partition(":")[2] not in behind)
    return Graph(translated, last, names, to.affine)
