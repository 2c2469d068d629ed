"""ONNX files from strangers: what isn't what it says is refused by name, before memory is taken."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainer_module.weights import onnx_file
from trainer_module.weights.graph import WeightImportError


def tensor(name="w", dims=(4, 3, 1, 1), **fields):
    made = TensorProto(name=name, data_type=fields.pop("data_type", TensorProto.FLOAT), dims=dims)
    for field, value in fields.items():
        if isinstance(value, bytes):
            setattr(made, field, value)
        else:
            getattr(made, field).extend(value)
    return made


def external(location, offset=0, length=48, dims=(4, 3, 1, 1)):
    made = tensor(dims=dims)
    made.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        made.external_data.add(key=key, value=str(value))
    return made


def save(path, *arrays, nodes=None, sparse=()):
    image = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["N", 3, 112, 112])
    output = helper.make_tensor_value_info("c", TensorProto.FLOAT, ["N", 4, 112, 112])
    nodes = nodes or [helper.make_node("Conv", ["in", "w"], ["c"])]
    graph = helper.make_graph(nodes, "g", [image], [output], arrays, sparse_initializer=sparse)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


VALUES = np.arange(12, dtype=np.float32)


@pytest.mark.parametrize(
    "good",
    [
        tensor(raw_data=VALUES.tobytes()),
        tensor(float_data=VALUES),
        tensor(int32_data=[1] * 12, data_type=TensorProto.FLOAT16),
        tensor(raw_data=b"\0" * 24, data_type=TensorProto.FLOAT16),
        tensor(raw_data=b"\0" * 6, data_type=TensorProto.INT4),
        tensor(float_data=[1.0] * 24, data_type=TensorProto.COMPLEX64),
        tensor(int64_data=[7], data_type=TensorProto.INT64, dims=()),
        tensor(dims=(0,)),
        numpy_helper.from_array(np.array(["a", "bc"], object), "w"),
    ],
)
def test_what_is_whole_is_read(tmp_path, good):
    path = save(tmp_path / "m.onnx", good)
    assert onnx_file.load(path) == onnx.load(path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (tensor(dims=(-1, 3, 1, 1), raw_data=VALUES.tobytes()), r"dims of 0 or more\. Received: \[-1, 3, 1, 1\]"),
        (tensor(dims=(7, 3, 1, 1), raw_data=VALUES.tobytes()), r"84 bytes for dims \[7, 3, 1, 1\]\. Received: 48"),
        (tensor(raw_data=VALUES.tobytes() + b"\0"), r"48 bytes for dims .* Received: 49"),
        (tensor(float_data=VALUES[:11]), r"12 numbers for dims \[4, 3, 1, 1\]\. Received: 11"),
        (tensor(), r"12 numbers for dims .* Received: 0"),
        (tensor(data_type=99, raw_data=b"\0" * 48), r"a data type that ONNX knows\. Received: 99"),
        (tensor(dims=(2**62, 4), raw_data=b"\0" * 48), r"expected at most 2 GiB \(MAX_NETWORK_BYTES\)\. Received: 7"),
        (tensor(dims=(2**32, 2**32), raw_data=b""), r"with those before it: expected at most 2 GiB"),
    ],
)
def test_dims_are_held_against_bytes(tmp_path, bad, message):
    with pytest.raises(WeightImportError, match=rf"m\.onnx: tensor 'w'.*{message}"):
        onnx_file.load(save(tmp_path / "m.onnx", bad))


def test_tensors_anywhere_count(tmp_path):
    short = tensor("inside", raw_data=b"\0" * 8)
    constant = helper.make_node("Constant", [], ["w"], value=short)
    inner = helper.make_graph([constant], "inner", [], [helper.make_tensor_value_info("w", 1, [4])])
    branch = helper.make_node("If", ["in"], ["c"], then_branch=inner, else_branch=inner)
    sparse = onnx.SparseTensorProto(values=short, dims=[12])
    for nodes, more in (([constant], ()), ([branch], ()), (None, [sparse])):
        with pytest.raises(WeightImportError, match="tensor 'inside': expected 48 bytes"):
            onnx_file.load(save(tmp_path / "m.onnx", nodes=nodes, sparse=more))


def test_the_limit_is_of_all_tensors_together(tmp_path, monkeypatch):
    path = save(tmp_path / "m.onnx", *(tensor(f"w{i}", raw_data=VALUES.tobytes()) for i in range(20)))
    monkeypatch.setattr(onnx_file, "MAX_NETWORK_BYTES", path.stat().st_size - 1)
    with pytest.raises(WeightImportError, match=r"m\.onnx: the file: expected at most"):
        onnx_file.load(path)
    (tmp_path / "data.bin").write_bytes(bytes(4800))
    shared = external("data.bin", dims=(400, 3, 1, 1), length=4800)
    path = save(tmp_path / "m.onnx", *[shared] * 30)  # 30 times the same bytes are 30 times the memory
    monkeypatch.setattr(onnx_file, "MAX_NETWORK_BYTES", 30 * 4800)
    assert onnx_file.load(path, with_data=False)
    monkeypatch.setattr(onnx_file, "MAX_NETWORK_BYTES", 30 * 4800 - 1)
    with pytest.raises(WeightImportError, match="with those before it: expected at most .* Received: 144,000 bytes"):
        onnx_file.load(path)


def test_external_data_beside_the_file_is_read(tmp_path):
    (tmp_path / "data.bin").write_bytes(b"\0" * 4 + VALUES.tobytes())
    path = save(tmp_path / "m.onnx", external("data.bin", offset=4))
    read = onnx_file.load(path)
    np.testing.assert_array_equal(numpy_helper.to_array(read.graph.initializer[0]).ravel(), VALUES)
    assert not onnx_file.load(path, with_data=False).graph.initializer[0].raw_data


@pytest.mark.parametrize("location", ["../secret.bin", "link.bin", "folder/secret.bin", "ABSOLUTE"])
def test_external_data_elsewhere_is_refused(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(VALUES.tobytes())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.bin").write_bytes(VALUES.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    os.symlink("../secret.bin", folder / "link.bin")
    os.symlink("../elsewhere", folder / "folder")
    location = str(tmp_path / "secret.bin") if location == "ABSOLUTE" else location
    path = save(folder / "m.onnx", external(location))
    for with_data in (True, False):
        with pytest.raises(WeightImportError, match=r"tensor 'w': expected external data in a file in .*elsewhere"):
            onnx_file.load(path, with_data=with_data)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (external("nothing.bin"), "'nothing.bin', which isn't there"),
        (external(""), "''"),
        (external("data.bin", offset=1), "48 bytes for dims .* Received: 48 at 1 of 48 bytes of data.bin"),
        (external("data.bin", length=40), "48 bytes for dims .* Received: 40 at 0 of 48"),
        (external("data.bin", dims=(5, 3, 1, 1), length=60), "60 bytes for dims .* Received: 60 at 0 of 48"),
        (external("data.bin", offset=-8), "an offset and a length of 0 or more"),
        (external("data.bin", offset="x"), "an offset and a length of 0 or more"),
    ],
)
def test_external_data_that_does_not_fit(tmp_path, made, message):
    (tmp_path / "data.bin").write_bytes(VALUES.tobytes())
    with pytest.raises(WeightImportError, match=message):
        onnx_file.load(save(tmp_path / "m.onnx", made))


def test_a_circle_is_refused_by_its_nodes(tmp_path):
    nodes = [helper.make_node("Add", ["b", "in"], ["a"], name="first"), helper.make_node("Add", ["a", "in"], ["b"])]
    with pytest.raises(WeightImportError, match="node Add first: expected nodes in order.* 'b' comes from Add b"):
        onnx_file.load(save(tmp_path / "m.onnx", nodes=nodes))
    itself = [helper.make_node("Add", ["a", "in"], ["a"], name="snake")]
    with pytest.raises(WeightImportError, match="node Add snake: .* 'a' comes from Add snake"):
        onnx_file.load(save(tmp_path / "m.onnx", nodes=itself))


@pytest.mark.parametrize("in_a_node", [False, True])
def test_a_sparse_tensor_counts_with_its_zeros(tmp_path, in_a_node):
    values, indices = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]), tensor("at", (1,), data_type=7)
    indices.int64_data.append(5)
    sparse = helper.make_sparse_tensor(values, indices, [600 << 20])
    nodes = [helper.make_node("Constant", [], ["w"], sparse_value=sparse)] if in_a_node else None
    path = save(tmp_path / "m.onnx", nodes=nodes, sparse=[] if in_a_node else [sparse])
    with pytest.raises(WeightImportError, match=r"sparse tensor 'w', .*at most 2 GiB .*Received: 2,516,582,4"):
        onnx_file.load(path)
