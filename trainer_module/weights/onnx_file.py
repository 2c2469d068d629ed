"""Opens ONNX files from strangers: what they say of their sizes is checked before memory is taken.

A tensor's dims against its bytes, external data inside the file's own folder, all of it below a limit, and nodes
without a circle. What onnx itself checks on loading is not repeated here.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from arcface_common.paths import check_regular
from trainer_module.weights.graph import MAX_NETWORK_BYTES, WeightImportError

_GIB = 1 << 30
# Of the fields that hold numbers one by one, how many entries a number takes.
_ENTRIES: dict[int, int] = {onnx.TensorProto.COMPLEX64: 2, onnx.TensorProto.COMPLEX128: 2}
_SMALL_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}  # several numbers lie in a byte
_KNOWN = frozenset(onnx.TensorProto.DataType.values())
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def load(path: Path, *, with_data: bool = True) -> onnx.ModelProto:
    """Reads and checks a model.

    Args:
      path: the file; external data is read from its folder.
      with_data: whether to read external data, too; it is checked either way.

    Returns:
      The model.

    Raises:
      DataError: no file, but a pipe, say.
      WeightImportError: no ONNX model, or one that is not what it says; names the tensor or node.
      OSError: the file cannot be read.
    """
    check_regular(str(path))
    _check_total(path, "the file", path.stat().st_size)
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise WeightImportError(f"{path.name}: expected an ONNX model. Received: {error}") from error
    total = 0
    for tensor in _tensors(model.graph):
        total += _size(path, tensor)
        _check_total(path, f"tensor {tensor.name!r}, with those before it", total)
        _check_data(path, tensor)
    for sparse in _sparse_tensors(model.graph):  # a few numbers that onnxruntime writes out, zeros and all
        filled = onnx.TensorProto(name=sparse.values.name, dims=sparse.dims, data_type=sparse.values.data_type)
        total += _size(path, filled)
        _check_total(path, f"sparse tensor {filled.name!r}, with those before it", total)
    _check_order(path, model.graph)
    if with_data:
        try:
            onnx.load_external_data_for_model(model, os.fspath(path.parent))
        except onnx.checker.ValidationError as error:
            raise WeightImportError(f"{path.name}: expected external data in its folder. Received: {error}") from error
    return model


def _check_total(path: Path, what: str, size: int) -> None:
    if size > MAX_NETWORK_BYTES:
        raise WeightImportError(
            f"{path.name}: {what}: expected at most {MAX_NETWORK_BYTES / _GIB:g} GiB (MAX_NETWORK_BYTES). "
            f"Received: {size:,} bytes"
        )


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All constant tensors, those of inner graphs, too."""
    for inner in _graphs(graph):
        yield from inner.initializer
        for attribute in _attributes(inner):
            yield from (attribute.t, *attribute.tensors)
    for sparse in _sparse_tensors(graph):
        yield from (sparse.values, sparse.indices)


def _sparse_tensors(graph: onnx.GraphProto) -> Iterator[onnx.SparseTensorProto]:
    """All sparse constants, those of inner graphs, too."""
    for inner in _graphs(graph):
        yield from inner.sparse_initializer
        for attribute in _attributes(inner):
            yield from (attribute.sparse_tensor, *attribute.sparse_tensors)


def _attributes(graph: onnx.GraphProto) -> Iterator[onnx.AttributeProto]:
    """The attributes of a graph's own nodes."""
    for node in graph.node:
        yield from node.attribute


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and all inside of its nodes."""
    yield graph
    for attribute in _attributes(graph):
        for inner in (attribute.g, *attribute.graphs):
            yield from _graphs(inner)


def _error(path: Path, tensor: onnx.TensorProto, expected: str, received: object) -> WeightImportError:
    return WeightImportError(f"{path.name}: tensor {tensor.name!r}: expected {expected}. Received: {received}")


def _count(path: Path, tensor: onnx.TensorProto) -> int:
    """How many numbers the dims speak of."""
    if any(size < 0 for size in tensor.dims):
        raise _error(path, tensor, "dims of 0 or more", list(tensor.dims))
    return math.prod(tensor.dims)  # Python's integers: nothing overflows into a small count


def _size(path: Path, tensor: onnx.TensorProto) -> int:
    """How many bytes the tensor takes; 0 where it isn't set."""
    count = _count(path, tensor)
    if tensor.data_type == onnx.TensorProto.UNDEFINED:
        return 0
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    name = onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in _KNOWN else str(tensor.data_type)
    if name in _SMALL_BITS:
        return -(-count * _SMALL_BITS[name] // 8)
    if tensor.data_type not in _KNOWN:
        raise _error(path, tensor, "a data type that ONNX knows", name)
    return count * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _check_data(path: Path, tensor: onnx.TensorProto) -> None:
    """Compares a tensor's dims with the data that is there."""
    if tensor.data_type == onnx.TensorProto.UNDEFINED:
        return
    size, count = _size(path, tensor), _count(path, tensor)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _check_external(path, tensor, size)
    elif tensor.HasField("raw_data"):
        if len(tensor.raw_data) != size:
            raise _error(path, tensor, f"{size:,} bytes for dims {list(tensor.dims)}", f"{len(tensor.raw_data):,}")
    elif onnx.TensorProto.DataType.Name(tensor.data_type) not in _SMALL_BITS:
        entries = sum(len(getattr(tensor, field)) for field in _FIELDS)
        if entries != count * _ENTRIES.get(tensor.data_type, 1):
            raise _error(path, tensor, f"{count:,} numbers for dims {list(tensor.dims)}", f"{entries:,}")


def _check_external(path: Path, tensor: onnx.TensorProto, size: int) -> None:
    """External data must lie in the file's folder, be of the tensor's size, and be there."""
    given = {entry.key: entry.value for entry in tensor.external_data}
    location, folder = given.get("location", ""), path.parent.resolve()
    file = (folder / location).resolve()
    if not location or not file.is_relative_to(folder) or not file.is_file():
        received = f"{location!r}" + (", which isn't there" if file.is_relative_to(folder) else ", which is elsewhere")
        raise _error(path, tensor, f"external data in a file in {folder}", received)
    texts = (given.get("offset", "0"), given.get("length", str(size)))
    if not all(text.isdecimal() for text in texts):
        raise _error(path, tensor, "an offset and a length of 0 or more", " and ".join(map(repr, texts)))
    offset, length = map(int, texts)
    there = file.stat().st_size - offset
    if length != size or not 0 <= size <= there:
        received = f"{length:,} at {offset:,} of {file.stat().st_size:,} bytes of {location}"
        raise _error(path, tensor, f"{size:,} bytes for dims {list(tensor.dims)}", received)


def _check_order(path: Path, graph: onnx.GraphProto) -> None:
    """Every node must come after those that feed it, as ONNX asks, which leaves no circle."""
    made_by = {name: node for node in graph.node for name in node.output if name}
    done: set[str] = set()
    for node in graph.node:
        for name in node.input:
            if name in made_by and name not in done:
                other = made_by[name]
                raise WeightImportError(
                    f"{path.name}: node {_called(node)}: expected nodes in order, without a circle. "
                    f"Received: its input {name!r} comes from {_called(other)}, which is not before it"
                )
        done.update(node.output)


def _called(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name or (node.output[0] if node.output else '')}"
