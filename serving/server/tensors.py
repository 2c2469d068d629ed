"""TensorFlow's TensorProto from and to numpy, within limits: a few bytes must not unfold into gigabytes."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.server.errors import invalid

# Where a TensorProto keeps its values, by numpy's type: TF Serving answers in these fields, which clients read.
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "object": "string_val",
}
_MOST_DIMENSIONS = 16


def to_array(name: str, tensor: Any, most_bytes: int) -> np.ndarray:
    """A tensor of a request.

    Args:
      name: of the input, for errors.
      tensor: TensorProto, of which anything may be wrong.
      most_bytes: that the array may take.

    Raises:
      ServingError: it is broken or too large, or has other than as many values as its shape says, or one for all.
    """
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or len(sizes) > _MOST_DIMENSIONS or any(size < 0 for size in sizes):
        raise invalid(f"input {name!r}: expected a whole shape. Received: {'unknown' if not sizes else sizes}")
    count = math.prod(sizes)
    try:
        dtype = np.dtype(tf.as_dtype(tensor.dtype).as_numpy_dtype)
        if dtype.hasobject and count != len(tensor.string_val):
            raise invalid(f"input {name!r}: expected {count} strings, by its shape. Received: {len(tensor.string_val)}")
        if count * dtype.itemsize > most_bytes:
            raise invalid(f"input {name!r}: expected at most {most_bytes} bytes. Received: a tensor of shape {sizes}")
        given = _values(tensor, dtype)
        if given not in (1, count):
            raise invalid(f"input {name!r}: expected {count} values, by its shape, or one. Received: {given}")
        array: np.ndarray = tf.make_ndarray(tensor)
    except (ArithmeticError, TypeError, ValueError, LookupError, NotImplementedError) as error:
        raise invalid(f"input {name!r}: expected a whole tensor. Received: {error}") from error
    return array


def _values(tensor: Any, dtype: np.dtype) -> int:
    """How many a TensorProto holds; of complex numbers, two parts are one."""
    if tensor.tensor_content:
        return len(tensor.tensor_content) // dtype.itemsize
    held = max(len(getattr(tensor, field.name)) for field in tensor.DESCRIPTOR.fields if field.name.endswith("_val"))
    return held // 2 if dtype.kind == "c" else held


def to_proto(array: np.ndarray) -> Any:
    """A tensor of an answer."""
    array = np.asarray(array)
    field = _FIELDS.get(array.dtype.name)
    if field is None:
        return tf.make_tensor_proto(array)
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto
