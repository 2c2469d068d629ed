"""MTCNN's three networks with the weights that the package `mtcnn` brings, as programs for onnxruntime.

The package runs them by Keras on TensorFlow. Here onnxruntime does the same arithmetic, and only the package's files
of weights are read, so TensorFlow isn't imported.
"""

import importlib.util
import os
from typing import Any

import joblib
import numpy as np
import onnx
import onnxruntime

_OPSET = 17
_IR_VERSION = 8  # of ONNX files with that opset


class Network:
    """One of the networks, called with a batch."""

    def __init__(self, model: onnx.ModelProto, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised, too
        options.enable_mem_pattern = False  # patterns are of one shape, and every photo has its own
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        """What the network says.

        Args:
          batch: float32 [N, H, W, 3], RGB, `(x - 127.5) / 128` of 0..255.

        Returns:
          Corrections of the boxes [N, 4, ...], for `onet` five points [N, 10], and the odds of other and face
          [N, 2, ...], where ... are the places of `pnet` and nothing of the others.
        """
        return self._session.run(None, {"image": np.ascontiguousarray(batch)})


def load_networks(threads: int = 1) -> tuple[Network, Network, Network]:
    """Proposals, refinement and output: `pnet` for any size, `rnet` for 24x24 and `onet` for 48x48 pixels.

    Args:
      threads: of each network; one by default, since photos are spread over processes.

    Source: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016.
    """
    pnet = _Layers("pnet")
    pnet.conv().pool(2, 2, same=True).conv().conv()
    pnet.outputs(convs=True, widths=(4, 2))
    rnet = _Layers("rnet")
    rnet.conv().pool(3, 2, same=True).conv().pool(3, 2, same=False).conv().flatten().dense()
    rnet.outputs(convs=False, widths=(4, 2))
    onet = _Layers("onet")
    onet.conv().pool(3, 2, same=True).conv().pool(3, 2, same=False).conv().pool(2, 2, same=True).conv()
    onet.flatten().dense()
    onet.outputs(convs=False, widths=(4, 10, 2))
    first, second, third = (Network(layers.model(), threads) for layers in (pnet, rnet, onet))
    return first, second, third


class _Layers:
    """Writes a network, layer by layer, in the order of its weights."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._weights = iter(_weights(name))
        self._nodes = [onnx.helper.make_node("Transpose", ["image"], ["x0"], perm=[0, 3, 1, 2])]
        self._arrays: list[onnx.TensorProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._at = "x0"

    def conv(self) -> "_Layers":
        """A convolution without padding, and PReLU."""
        self._convolve()
        return self._prelu(next(self._weights).reshape(-1, 1, 1))

    def dense(self) -> "_Layers":
        """A fully connected layer, and PReLU."""
        self._multiply()
        return self._prelu(next(self._weights))

    def pool(self, side: int, stride: int, *, same: bool) -> "_Layers":
        """Maxima of side x side; `same`: TensorFlow's padding, at the end before the beginning."""
        padding = "SAME_UPPER" if same else "VALID"
        return self._node("MaxPool", [], kernel_shape=[side, side], strides=[stride, stride], auto_pad=padding)

    def flatten(self) -> "_Layers":
        """[N, C, H, W] to [N, W * H * C]: the weights were made where columns came before rows."""
        return self._node("Transpose", [], perm=[0, 3, 2, 1])._node("Flatten", [], axis=1)

    def outputs(self, *, convs: bool, widths: tuple[int, ...]) -> None:
        """Several layers side by side, the last one with a softmax."""
        before = self._at
        for number, width in enumerate(widths):
            self._at = before
            if convs:
                self._convolve()
            else:
                self._multiply()
            if number == len(widths) - 1:
                self._node("Softmax", [], axis=1)
            shape: list[str | int | None] = ["n", width, "h", "w"] if convs else ["n", width]
            self._outputs.append(onnx.helper.make_tensor_value_info(self._at, onnx.TensorProto.FLOAT, shape))

    def model(self) -> onnx.ModelProto:
        """The whole."""
        image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", "height", "width", 3])
        graph = onnx.helper.make_graph(self._nodes, self._name, [image], self._outputs, self._arrays)
        opset = onnx.helper.make_opsetid("", _OPSET)
        return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)

    def _convolve(self) -> None:
        kernel, bias = next(self._weights), next(self._weights)
        self._node("Conv", [kernel.transpose(3, 2, 0, 1), bias])

    def _multiply(self) -> None:
        self._node("Gemm", [next(self._weights), next(self._weights)])

    def _prelu(self, slopes: np.ndarray) -> "_Layers":
        return self._node("PRelu", [slopes])

    def _node(self, op: str, arrays: list[np.ndarray], **attributes: Any) -> "_Layers":
        inputs = [self._at]
        for array in arrays:
            inputs.append(f"w{len(self._arrays)}")
            self._arrays.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), inputs[-1]))
        self._at = f"x{len(self._nodes)}"
        self._nodes.append(onnx.helper.make_node(op, inputs, [self._at], **attributes))
        return self


def _weights(name: str) -> list[np.ndarray]:
    """A network's arrays in Keras' layout. The files are pickles of a package whose hash the lock holds."""
    package = importlib.util.find_spec("mtcnn")  # which imports nothing
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'mtcnn'", name="mtcnn")
    return joblib.load(os.path.join(package.submodule_search_locations[0], "assets", "weights", f"{name}.lz4"))
