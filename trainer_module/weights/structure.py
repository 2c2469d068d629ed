"""Recognises a backbone in a graph of foreign weights, and maps each array to a variable by walking both networks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tf_keras

from arcface_common.features import CHANNELS, PixelFormat
from trainer_module import backbones
from trainer_module.backbones.iresnet import UNITS
from trainer_module.backbones.layers import GroupedConv2D, PReLU
from trainer_module.backbones.mobilefacenet import STEM_WIDTH
from trainer_module.weights import variables
from trainer_module.weights.graph import INPUT, Graph, Node, WeightImportError
from trainer_module.weights.variables import MappedArray

_IRESNET_FEATURES = 512 * 7 * 7  # of every iresnet's last map, for 112x112 pixels
_UNFOLDED_EPSILON = 1e-5  # PyTorch's default: no effect on the result where every normalisation was folded away


@dataclasses.dataclass(frozen=True)
class Imported:
    """A backbone with published weights.

    Attributes:
      backbone: float32 [N, 112, 112, 3] in the value range of `pixel_format` -> float32 [N, D], not L2-normalised.
      name: the registered name; `backbones.build(name, **options)` gives the same network with fresh weights.
      options: see `name`; ready for JSON.
      embedding_dim: D.
      pixel_format: how uint8 RGB pixels become the input.
      mapping: where each array of the file went, in the network's order.
      source: what was read, for the exported model's metadata: the format and the files' names without folders.
    """

    backbone: tf_keras.Model
    name: str
    options: Mapping[str, Any]
    embedding_dim: int
    pixel_format: PixelFormat
    mapping: tuple[MappedArray, ...]
    source: str

    def report(self) -> str:
        """The mapping as text, a line for each variable: array and shape in the file -> variable and shape here."""
        head = f"{self.source}: {self.name}, {self.embedding_dim} dimensions, {self.pixel_format}"
        return "\n".join([head, *(str(mapped) for mapped in self.mapping)])


def import_graph(graph: Graph, pixel_format: PixelFormat, source: str) -> Imported:
    """Builds the backbone that a graph describes and gives it the graph's weights.

    Args:
      graph: the translated file, unfolded.
      pixel_format: how pixels become the network's input.
      source: what was read, for people.

    Returns:
      The backbone with weights.

    Raises:
      WeightImportError: no registered backbone has this structure, or arrays are left over or of another shape.
    """
    name, options = recognise(graph)
    model = backbones.build(name, **options)
    pairs = match(model, graph)
    mapping: list[MappedArray] = []
    for layer, node in pairs:
        mapping += variables.assign(layer, node)
    used = {mapped.source for mapped in mapping}
    left = sorted(graph.array_names - used)
    if left:
        raise WeightImportError(f"every array must have a place in {name}. Received: left over {', '.join(left)}")
    return Imported(
        backbone=model,
        name=name,
        options=options,
        embedding_dim=options["embedding_dim"],
        pixel_format=pixel_format,
        mapping=tuple(mapping),
        source=source,
    )


def recognise(graph: Graph) -> tuple[str, dict[str, Any]]:
    """Finds the registered backbone and its options from a few nodes' shapes; `match` then checks each of them.

    Args:
      graph: a translated file, unfolded.

    Returns:
      The name and the options of `backbones.build`.

    Raises:
      WeightImportError: no registered backbone is like this.
    """
    for node in graph.nodes:
        rank = {"conv": 4, "dense": 2}.get(node.kind)
        if rank and node.arrays["kernel"].values.ndim != rank:
            kernel = node.arrays["kernel"]
            raise WeightImportError(
                f"{node.op} {node.name}: its weight must have {rank} dimensions. "
                f"Received: {kernel.source} {list(kernel.values.shape)}"
            )
    _check_channels(graph)
    convs = [node for node in graph.nodes if node.kind == "conv"]
    denses = [node for node in graph.nodes if node.kind == "dense"]
    if not convs or len(denses) != 1:
        found = ", ".join(node.name for node in denses) or "none"
        raise WeightImportError(
            "a backbone has convolutions and one fully connected layer. "
            f"Received: {len(convs)} convolutions, fully connected: {found}"
        )
    last = next((node for node in graph.nodes if node.name == graph.output), None)
    if last is None or last.kind != "norm" or last.inputs != (denses[0].name,):
        received = f"{graph.output} ({last.op if last else 'the input'})"
        raise WeightImportError(f"the embedding must be the batch norm of {denses[0].name}. Received: {received}")
    options: dict[str, Any] = {"embedding_dim": denses[0].arrays["kernel"].values.shape[0], "dropout": 0.0}
    epsilon = _epsilon(graph, last)
    options["epsilon"] = epsilon
    options["output_epsilon"] = epsilon if last.epsilon is None else last.epsilon
    gamma = last.arrays.get("gamma")
    options["output_gamma"] = gamma is not None and not gamma.fixed and bool((gamma.values != 1).any())
    if any(node.groups > 1 for node in convs):
        options["fc_bias"] = "bias" in denses[0].arrays
        name, structure = _mobilefacenet(convs)
        _check_features(denses[0], name, structure["last_width"])  # its last convolution takes the whole map
        return name, options | structure
    name = _iresnet(graph, convs)
    _check_features(denses[0], name, _IRESNET_FEATURES)
    return name, options


def _check_features(dense: Node, name: str, features: int) -> None:
    """Compares the fully connected layer's kernel with the number of values that it is fed."""
    kernel = dense.arrays["kernel"]
    if kernel.values.shape[1] != features:
        raise WeightImportError(
            f"{dense.op} {dense.name}: {name} needs a weight of [D, {features}]. "
            f"Received: {kernel.source} {list(kernel.values.shape)}"
        )


def _check_channels(graph: Graph) -> None:
    """Compares each kernel with the number of channels that it is fed.

    A backbone is built by its layers' widths. Were they not each other's inputs, a kernel of [100000, 1] could ask for
    gigabytes in a file of kilobytes.
    """
    channels = {INPUT: CHANNELS}
    for node in graph.nodes:
        given = channels[node.inputs[0]]
        if node.kind == "conv":
            kernel = node.arrays["kernel"]
            if kernel.values.shape[1] * node.groups != given:
                raise WeightImportError(
                    f"{node.op} {node.name}: its weight must take {given} channels in {node.groups} groups. "
                    f"Received: {kernel.source} {list(kernel.values.shape)}"
                )
            given = kernel.values.shape[0]
        channels[node.name] = given


def _epsilon(graph: Graph, last: Node) -> float:
    """The one epsilon of all normalisations but the last."""
    known = [node for node in graph.nodes if node.kind == "norm" and node is not last and node.epsilon is not None]
    for node in known:
        if node.epsilon != known[0].epsilon:
            raise WeightImportError(
                f"all batch norms but the last must share one epsilon, {known[0].epsilon} as {known[0].name} has. "
                f"Received: {node.epsilon} of {node.name}"
            )
    epsilon = known[0].epsilon if known else None
    return _UNFOLDED_EPSILON if epsilon is None else epsilon


def _filters(conv: Node) -> int:
    return conv.arrays["kernel"].values.shape[0]


def _size(conv: Node) -> int:
    return conv.arrays["kernel"].values.shape[-1]


def _mobilefacenet(convs: list[Node]) -> tuple[str, dict[str, Any]]:
    """Reads the widths off the convolutions: stem, bottlenecks of 1x1, 3x3 and 1x1, the last 1x1, the whole map.

    A bottleneck of stride 2 begins a stage. y1, mbf and arcface_torch's other depths and widths come out of this.
    """
    second_is_one = len(convs) > 1 and _size(convs[1]) == 3
    first = 2 if second_is_one else 1
    bottlenecks = [tuple(convs[at : at + 3]) for at in range(first, len(convs) - 2, 3)]
    kernels = [[_size(conv) for conv in bottleneck] for bottleneck in bottlenecks]
    strided = [at for at, bottleneck in enumerate(bottlenecks) if bottleneck[1].stride == 2]
    if not strided or any(sizes != [1, 3, 1] for sizes in kernels):
        raise WeightImportError(
            "a MobileFaceNet has a stem, bottlenecks of 1x1, 3x3 and 1x1 convolutions, a 1x1 and one of the whole map. "
            f"Received: convolutions of {[_size(conv) for conv in convs]} from {convs[0].name} on"
        )
    ends = [*strided[1:], len(bottlenecks)]
    _check_stages(bottlenecks, strided, ends)
    if second_is_one:
        stem_groups = convs[1].groups
    else:
        stem_groups = _filters(bottlenecks[0][0]) // 2
    structure = {
        "stem_width": _filters(convs[0]),
        "stem_groups": stem_groups,
        "stem_residuals": strided[0],
        "widths": [_filters(bottlenecks[at][2]) for at in strided],
        "residuals": [end - at - 1 for at, end in zip(strided, ends, strict=True)],
        "strided_expansions": [_filters(bottlenecks[at][0]) for at in strided],
        # A stage's second bottleneck, or its first if there is no other: then it is not used.
        "expansions": [_filters(bottlenecks[min(at + 1, end - 1)][0]) for at, end in zip(strided, ends, strict=True)],
        "last_width": _filters(convs[-1]),
    }
    return "mobilefacenet" if structure["stem_width"] == STEM_WIDTH else "mobilefacenet_mbf", structure


def _check_stages(bottlenecks: list[tuple[Node, ...]], begins: list[int], ends: list[int]) -> None:
    """All bottlenecks of a stage but its strided one must be alike: one of them is read, and all are built by it."""
    for begin, end in [(0, begins[0]), *((begin + 1, end) for begin, end in zip(begins, ends, strict=True))]:
        for bottleneck in bottlenecks[begin:end]:
            expected, received = ([_filters(conv) for conv in b] for b in (bottlenecks[begin], bottleneck))
            if received != expected:
                raise WeightImportError(
                    f"{bottleneck[0].op} {bottleneck[0].name}: a bottleneck's filters must be those of its stage, "
                    f"{expected}. Received: {received}"
                )


def _iresnet(graph: Graph, convs: list[Node]) -> str:
    """By the units of each stage: a stage begins where a 3x3 convolution has stride 2, a unit ends in an addition."""
    units: list[int] = []
    for node in graph.nodes:
        if node.kind == "conv" and node.stride == 2 and _size(node) == 3 and node is not convs[0]:
            units.append(0)
        elif node.kind == "add" and units:
            units[-1] += 1
    for name, known in UNITS.items():
        if tuple(units) == known:
            return name
    known_units = ", ".join(f"{name} {known}" for name, known in UNITS.items())
    raise WeightImportError(
        f"a network without grouped convolutions must have the stages of {known_units}. "
        f"Received: stages of {tuple(units)} units, {len(convs)} convolutions, output {graph.output}"
    )


_KINDS = {
    tf_keras.layers.Conv2D: "conv",
    tf_keras.layers.DepthwiseConv2D: "conv",
    GroupedConv2D: "conv",
    tf_keras.layers.BatchNormalization: "norm",
    PReLU: "prelu",
    tf_keras.layers.Dense: "dense",
    tf_keras.layers.Add: "add",
}


def match(model: tf_keras.Model, graph: Graph) -> list[tuple[tf_keras.layers.Layer, Node]]:
    """Pairs each layer that computes with the node that does the same, walking both networks from the input on.

    A value never feeds two nodes of one kind in these networks, so kind and inputs say which node it is; names are
    not looked at.

    Args:
      model: our network.
      graph: the foreign one.

    Returns:
      (layer, node), in the network's order; additions too.

    Raises:
      WeightImportError: the networks differ; it names our layer and their node.
    """
    values: dict[str, str] = {}  # our layer -> the node whose output ours equals
    pads: dict[str, int] = {}  # our layer -> zeros around its output that the node's output lacks
    pairs = []
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.InputLayer):
            values[layer.name] = INPUT
            continue
        parents = [parent.layer.name for parent in _parents(layer)]
        inputs = tuple(values[parent] for parent in parents)
        kind = _KINDS.get(type(layer))
        if kind is None:  # padding, dropout, flatten
            values[layer.name] = inputs[0]
            pads[layer.name] = layer.padding[0][0] if isinstance(layer, tf_keras.layers.ZeroPadding2D) else 0
            continue
        found = [
            node for node in graph.consumers(inputs[0]) if node.kind == kind and sorted(node.inputs) == sorted(inputs)
        ]
        if len(found) != 1:
            received = ", ".join(f"{node.op} {node.name}" for node in graph.consumers(inputs[0])) or "the output"
            raise WeightImportError(f"{layer.name}: expected one {kind} after {inputs[0]}. Received: {received}")
        if kind == "conv":
            _check_convolution(layer, found[0], pads.get(parents[0], 0))
        values[layer.name] = found[0].name
        pairs.append((layer, found[0]))
    matched = {node.name for _, node in pairs}
    extra = [f"{node.op} {node.name}" for node in graph.nodes if node.name not in matched]
    if extra or values[model.layers[-1].name] != graph.output:
        raise WeightImportError(
            f"{model.name} must end where the file's network does. Received: {', '.join(extra) or graph.output}"
        )
    return pairs


def _parents(layer: tf_keras.layers.Layer) -> list[Any]:
    """The nodes of Keras' graph that feed a layer of a functional model."""
    return layer.inbound_nodes[0].parent_nodes


def _check_convolution(layer: tf_keras.layers.Layer, node: Node, pad: int) -> None:
    """Compares stride, padding and groups; shapes are compared when the kernel is assigned."""
    if isinstance(layer, GroupedConv2D):
        expected = {"stride": 1, "pad": pad, "groups": layer.groups}
    else:
        groups = layer.input_shape[-1] if isinstance(layer, tf_keras.layers.DepthwiseConv2D) else 1
        pad += layer.kernel_size[0] // 2 if layer.padding == "same" else 0
        expected = {"stride": layer.strides[0], "pad": pad, "groups": groups}
    received = {"stride": node.stride, "pad": node.pad, "groups": node.groups}
    if received != expected:
        raise WeightImportError(f"{layer.name}: expected {expected}. Received: {received} of {node.op} {node.name}")
