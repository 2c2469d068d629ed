"""The small graph that MXNet symbols and ONNX files are translated to before they are recognised."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from arcface_common.errors import DataError
from arcface_common.features import PixelFormat

Kind = Literal["conv", "norm", "prelu", "add", "dense"]
INPUT = "(input)"
# A network's file, its external data, and what is built from it. iresnet200 takes 0.5 GiB; protobuf ends at 2.
MAX_NETWORK_BYTES = 2 << 30


class WeightImportError(DataError):
    """A file of weights that cannot be read into a backbone; the message names the node or array."""


@dataclasses.dataclass(frozen=True)
class Array:
    """One array of the file.

    Attributes:
      source: its name in the file.
      values: what it holds, float32.
      fixed: set where the network ignores the values and takes 1 (MXNet's `fix_gamma`).
    """

    source: str
    values: np.ndarray
    fixed: bool = False


@dataclasses.dataclass(frozen=True)
class Node:
    """One operator with weights, or an addition.

    Attributes:
      kind: what it does.
      name: its name in the file, unique in the graph.
      op: the operator as the file calls it.
      inputs: names of the nodes that feed it; `INPUT` is the (normalised) image.
      arrays: by role. conv: kernel [F, C / groups, k, k], perhaps bias [F]; norm: gamma, beta, mean, variance, all
        [C]; prelu: slope [C]; dense: kernel [D, K], perhaps bias [D].
      stride: of a convolution, the same in both directions.
      pad: of a convolution, zeros on each of the four sides.
      groups: of a convolution.
      epsilon: of a normalisation; None where an exporter folded it away and at most beta is left.
    """

    kind: Kind
    name: str
    op: str
    inputs: tuple[str, ...]
    arrays: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    stride: int = 1
    pad: int = 0
    groups: int = 1
    epsilon: float | None = None


class Affine:
    """What the graph does to pixels before its first weight, `(x - mean) / scale`, as scalar operators add to it."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.scale = 1.0
        self.seen = False

    def apply(self, operation: Literal["add", "sub", "mul", "div"], number: float) -> None:
        """Appends one scalar operator.

        Raises:
          WeightImportError: a factor that is not positive, which would leave nothing or a negative.
        """
        self.seen = True
        if operation in ("add", "sub"):
            self.mean += (number if operation == "sub" else -number) * self.scale
            return
        if not number > 0:
            raise WeightImportError(f"a factor of the image's pixels must be positive. Received: {operation} {number}")
        self.scale = self.scale / number if operation == "mul" else self.scale * number

    def pixel_format(self) -> PixelFormat:
        """The same for RGB."""
        return PixelFormat(mean=self.mean, scale=self.scale)


@dataclasses.dataclass(frozen=True)
class Graph:
    """A network: its nodes, each after those that feed it, and all arrays of the file.

    Attributes:
      nodes: in topological order.
      output: name of the node that gives the embedding.
      array_names: of every array in the file that belongs to the network.
      affine: the input normalisation inside the graph.
    """

    nodes: tuple[Node, ...]
    output: str
    array_names: frozenset[str]
    affine: Affine

    def consumers(self, name: str) -> list[Node]:
        """The nodes that the node of that name feeds."""
        return [node for node in self.nodes if name in node.inputs]


def unfold(nodes: Iterable[Node], output: str) -> tuple[tuple[Node, ...], str]:
    """Puts back the normalisations that an exporter folded into the weights before them.

    A convolution that no normalisation follows gets one that only adds beta = the convolution's bias [F], or 0 (an
    exporter may drop a bias of zeros). A fully connected layer at the very end gets one that does nothing; its bias
    stays where it is.

    Args:
      nodes: in topological order.
      output: name of the node that gives the embedding.

    Returns:
      The nodes in topological order, and the output's name.
    """
    nodes = tuple(nodes)
    normalised = {node.inputs[0] for node in nodes if node.kind == "norm"}
    renamed: dict[str, str] = {}
    unfolded = []
    for node in nodes:
        node = dataclasses.replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        arrays = dict(node.arrays)
        folded = node.name not in normalised and (node.kind == "conv" or (node.kind == "dense" and node.name == output))
        if folded and node.kind == "conv":
            beta = arrays.pop("bias", None)
            node = dataclasses.replace(node, arrays=arrays)
            arrays = {"beta": beta} if beta else {}
        unfolded.append(node)
        if folded:
            arrays = arrays if node.kind == "conv" else {}
            norm = Node("norm", f"{node.name} (folded norm)", "folded norm", (node.name,), arrays)
            renamed[node.name] = norm.name
            unfolded.append(norm)
    return tuple(unfolded), renamed.get(output, output)
