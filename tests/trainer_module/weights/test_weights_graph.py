"""What foreign files leave unsaid or say in another order: defaults of either format, and arithmetic on the pixels."""

import itertools
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainer_module.weights.graph import Affine, WeightImportError
from trainer_module.weights.mxnet_symbol import read_symbol
from trainer_module.weights.onnx_graph import read_graph

OPERATIONS = {
    "add": lambda x, number: x + number,
    "sub": lambda x, number: x - number,
    "mul": lambda x, number: x * number,
    "div": lambda x, number: x / number,
}


@pytest.mark.parametrize("order", list(itertools.permutations(OPERATIONS, 3)))
def test_scalars_on_the_pixels_in_any_order(order):
    affine, x = Affine(), np.array([0.0, 100.0, 255.0])
    expected = x
    for name, number in zip(order, (127.5, 3.0, 0.25), strict=True):
        affine.apply(name, number)
        expected = OPERATIONS[name](expected, number)
    pixels = affine.pixel_format()
    np.testing.assert_allclose((x - pixels.mean) / pixels.scale, expected, rtol=1e-12)


@pytest.mark.parametrize("operation", ["mul", "div"])
@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_a_factor_that_leaves_no_pixels(operation, factor):
    with pytest.raises(WeightImportError, match=f"factor of the image's pixels must be positive.*{operation}"):
        Affine().apply(operation, factor)


def symbol(tmp_path, **attributes):
    """A BatchNorm on the image, as `-symbol.json` and arrays."""
    names = ("data", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var")
    nodes = [{"op": "null", "name": name, "inputs": []} for name in names]
    norm = {"op": "BatchNorm", "name": "bn", "attrs": attributes, "inputs": [[i, 0, 0] for i in range(5)]}
    (tmp_path / "x-symbol.json").write_text(json.dumps({"nodes": [*nodes, norm], "heads": [[5, 0, 0]]}))
    kinds = ("arg", "arg", "aux", "aux")
    params = {f"{kind}:{name}": np.full(3, 2.0, np.float32) for kind, name in zip(kinds, names[1:], strict=True)}
    return read_symbol(tmp_path / "x-symbol.json", params).nodes[0]


def test_what_mxnet_takes_where_a_symbol_says_nothing(tmp_path):
    node = symbol(tmp_path)
    assert node.epsilon == 1e-3
    assert node.arrays["gamma"].fixed
    said = symbol(tmp_path, eps="2e-05", fix_gamma="False")
    assert said.epsilon == 2e-5
    assert not said.arrays["gamma"].fixed


def batch_norm(tmp_path, **attributes):
    """A BatchNormalization on the image, as ONNX."""
    arrays = [numpy_helper.from_array(np.full(3, 2.0, np.float32), name) for name in ("g", "b", "m", "v")]
    node = helper.make_node("BatchNormalization", ["in", "g", "b", "m", "v"], ["out"], **attributes)
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 112, 112]) for name in ("in", "out")]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], arrays)
    onnx.save(helper.make_model(graph), tmp_path / "x.onnx")
    return read_graph(tmp_path / "x.onnx").nodes[0]


def test_what_onnx_takes_where_a_file_says_nothing(tmp_path):
    assert batch_norm(tmp_path).epsilon == 1e-5
    assert batch_norm(tmp_path, epsilon=2e-5).epsilon == 2e-5
