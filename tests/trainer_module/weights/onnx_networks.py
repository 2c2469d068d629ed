"""Writes ONNX files as PyTorch's exporter writes arcface_torch's networks, with random weights.

What the exporter does was read off its files (PyTorch 2.13, opset 11, and its newer one): it folds batch norms into
the convolutions before them, shares equal arrays through Identity, gives slopes the shape [C, 1, 1], and writes
`view(size(0), -1)` as Shape, Gather, Unsqueeze, Concat, Reshape, and Linear without bias as MatMul.
"""

import functools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EPSILON = 1e-5


class Exporter:
    """Collects nodes and arrays; a value is a tensor's name.

    Args:
      folded: whether batch norms after convolutions are folded into them.
      newer: whether to write as PyTorch's newer exporter does (`dynamo=True`): the last batch norm is folded too.
      seed: of the weights.
    """

    def __init__(self, folded: bool, newer: bool = False, seed: int = 0) -> None:
        self.folded = folded
        self.newer = newer
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def array(self, values: np.ndarray, dtype: type = np.float32) -> str:
        name = f"w{len(self.arrays)}"
        self.arrays[name] = np.asarray(values, dtype)
        return name

    def statistics(self, channels: int, gamma_scale: float = 1.0) -> list[np.ndarray]:
        """Gamma, beta, mean, variance."""
        return [
            self.random.uniform(0.5, 1.5, channels) * gamma_scale,
            self.random.normal(0, 0.3, channels),
            self.random.normal(0, 0.3, channels),
            self.random.uniform(0.5, 2, channels),
        ]

    def norm(self, x: str, statistics: list[np.ndarray]) -> str:
        return self.node("BatchNormalization", x, *map(self.array, statistics), epsilon=EPSILON)

    def conv_norm(
        self, x: str, inputs: int, filters: int, size: int, stride: int, *, groups: int = 1, pad: int | None = None,
        gamma_scale: float = 1.0,
    ) -> str:  # fmt: skip
        pad = size // 2 if pad is None else pad
        shape = (filters, inputs // groups, size, size)
        kernel = self.random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        statistics = self.statistics(filters, gamma_scale)
        geometry = {"strides": [stride] * 2, "pads": [pad] * 4, "group": groups, "dilations": [1, 1]}
        if not self.folded:
            return self.norm(self.node("Conv", x, self.array(kernel), **geometry), statistics)
        gamma, beta, mean, variance = statistics
        factor = gamma / np.sqrt(variance + EPSILON)
        kernel, bias = kernel * factor[:, None, None, None], beta - mean * factor
        return self.node("Conv", x, self.array(kernel), self.array(bias), **geometry)

    def prelu(self, x: str, channels: int) -> str:
        shape = (1, channels, 1, 1) if self.newer else (channels, 1, 1)
        return self.node("PRelu", x, self.array(self.random.uniform(0, 0.5, shape)))

    def flatten_view(self, x: str) -> str:
        """`x.view(x.size(0), -1)`."""
        size = self.node("Gather", self.node("Shape", x), self.array(0, np.int64), axis=0)
        size = self.node("Unsqueeze", size, axes=[0])
        rest = self.node("Constant", value=numpy_helper.from_array(np.array([-1], np.int64)))
        return self.node("Reshape", x, self.node("Concat", size, rest, axis=0))

    def output(self, x: str, inputs: int, dim: int, *, bias: bool, gamma: bool) -> str:
        kernel = self.random.normal(0, inputs**-0.5, (dim, inputs))
        statistics = self.statistics(dim)
        offset = self.random.normal(0, 0.3, dim) if bias else np.zeros(dim)
        if not gamma:
            statistics[0] = np.ones(dim)
        if self.newer:
            factor = statistics[0] / np.sqrt(statistics[3] + EPSILON)
            offset = (offset - statistics[2]) * factor + statistics[1]
            kernel = kernel * factor[:, None]
            return self.node("Gemm", x, self.array(kernel), self.array(offset), transB=1)
        if bias:
            x = self.node("Gemm", x, self.array(kernel), self.array(offset), alpha=1.0, beta=1.0, transB=1)
        else:
            x = self.node("MatMul", x, self.array(kernel.T))
        return self.norm(x, statistics)

    def model(self, output: str, dim: int) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 112, 112])
        embedding = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", dim])
        arrays = [numpy_helper.from_array(values, name) for name, values in self.arrays.items()]
        graph = helper.make_graph(self.nodes, "main_graph", [image], [embedding], arrays)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def iresnet18(folded: bool, newer: bool = False) -> onnx.ModelProto:
    """arcface_torch's r18; the last gamma is 1."""
    return onnx.ModelProto.FromString(_iresnet18(folded, newer))


@functools.lru_cache(maxsize=1)  # to draw its 24 million weights takes a second
def _iresnet18(folded: bool, newer: bool) -> bytes:
    return iresnet18_of("data", Exporter(folded, newer)).SerializeToString()


def iresnet18_of(image: str, to: Exporter) -> onnx.ModelProto:
    """The same behind a value of the exporter's, the normalised image."""
    x = to.prelu(to.conv_norm(image, 3, 64, 3, 1), 64)
    inputs = 64
    for width in (64, 128, 256, 512):
        for stride in (2, 1):
            y = to.norm(x, to.statistics(inputs))
            y = to.prelu(to.conv_norm(y, inputs, width, 3, 1), width)
            y = to.conv_norm(y, width, width, 3, stride, gamma_scale=0.2)
            if stride == 2:
                x = to.conv_norm(x, inputs, width, 1, 2)
            x, inputs = to.node("Add", y, x), width
    x = to.node("Flatten", to.norm(x, to.statistics(512)), axis=1)
    return to.model(to.output(x, 512 * 49, 512, bias=True, gamma=False), 512)


def mobilefacenet(
    folded: bool, newer: bool = False, *, blocks: tuple[int, ...] = (1, 4, 6, 2), scale: int = 2, dim: int = 512
) -> onnx.ModelProto:
    """arcface_torch's mbf with its arguments `blocks` and `scale`."""
    to = Exporter(folded, newer)
    inputs = 64 * scale

    def block(x: str, inputs: int, width: int, size: int, stride: int, groups: int = 1) -> str:
        return to.prelu(to.conv_norm(x, inputs, width, size, stride, groups=groups), width)

    def bottleneck(x: str, inputs: int, width: int, inner: int, stride: int, gamma_scale: float = 1.0) -> str:
        x = block(block(x, inputs, inner, 1, 1), inner, inner, 3, stride, inner)
        return to.conv_norm(x, inner, width, 1, 1, gamma_scale=gamma_scale)

    def residuals(x: str, width: int, inner: int, count: int) -> str:
        for _ in range(count):
            x = to.node("Add", x, bottleneck(x, width, width, inner, 1, 0.2))
        return x

    x = block("data", 3, inputs, 3, 2)
    x = block(x, inputs, inputs, 3, 1, 64) if blocks[0] == 1 else residuals(x, inputs, 128, blocks[0])
    for width, strided, inner, count in zip((64, 128, 128), (128, 256, 512), (128, 256, 256), blocks[1:], strict=True):
        x = bottleneck(x, inputs, width * scale, strided, 2)
        inputs = width * scale
        x = residuals(x, inputs, inner, count)
    x = to.conv_norm(block(x, inputs, 512, 1, 1), 512, 512, 7, 1, groups=512, pad=0)
    return to.model(to.output(to.flatten_view(x), 512, dim, bias=False, gamma=True), dim)


def share_equal_arrays(model: onnx.ModelProto) -> None:
    """Feeds every second array from an Identity of an equal one, as the exporter does with arrays that are equal."""
    shared = []
    for tensor in list(model.graph.initializer)[::2]:
        original = f"{tensor.name}_shared"
        shared.append(helper.make_node("Identity", [original], [tensor.name]))
        tensor.name = original
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(shared + nodes)
