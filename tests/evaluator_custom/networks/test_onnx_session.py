"""ONNX files that ask for more memory than there is: refused, with none of it taken."""

import re
import subprocess
import sys

import onnx
import pytest
from onnx import TensorProto, helper

from tests.helpers import ROOT


def _bomb(path, op, by_input):
    """A few hundred bytes that make 6 GiB: of constants, or of what the images say."""
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], [1536, 1024, 1024, 1])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1, 1, 1, 1], [1.0])
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0, 1, 2, 3], keepdims=0)]
    if by_input:
        nodes += [
            helper.make_node("Sub", ["mean", "mean"], ["zero"]),
            helper.make_node("Cast", ["zero"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Add", ["sizes", "whole"], ["shape"]),
        ]
    shape = "shape" if by_input else "sizes"
    made = {"ConstantOfShape": [shape], "Expand": ["one", shape], "Tile": ["one", shape]}[op]
    nodes += [
        helper.make_node(op, made, ["big"]),
        helper.make_node("ReduceMean", ["big"], ["small"], axes=[0, 1, 2, 3]),
        helper.make_node("ReduceMean", ["image"], ["rows"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["rows", "small"], ["y"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 112, 112])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [image], [output], [sizes, one])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


ARENA = r"Available memory of .* smaller than requested bytes of 6442450944"


@pytest.mark.parametrize(
    "op, by_input, refusal",
    [
        ("ConstantOfShape", False, ARENA),
        ("Expand", False, ARENA),
        ("Expand", True, ARENA),
        # onnxruntime has a limit of its own for this node, before it asks for memory.
        ("Tile", True, r"Tile output tensor would require more than 4294967296 bytes"),
    ],
)
def test_what_nodes_make_is_limited(tmp_path, op, by_input, refusal):
    _bomb(tmp_path / "bomb.onnx", op, by_input)
    code = (
        "import sys, numpy as np; from benchmarks import memory\n"
        "from evaluator_custom.networks.onnx_session import OnnxSession\n"
        "before = memory.peak()\n"
        "try: OnnxSession(sys.argv[1]).run('y', 'image', np.ones((2, 3, 112, 112), np.float32))\n"
        "except Exception as error: print(str(error).replace('\\n', ' '))\n"
        "print(memory.peak() - before)"
    )
    command = [sys.executable, "-c", code, tmp_path / "bomb.onnx"]
    said, taken = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    assert re.search(refusal, said), said
    assert int(taken) < 200_000_000
