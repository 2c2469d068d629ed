"""The Open Inference Protocol's terms, for both of its transports: types, raw contents, metadata."""

import importlib.metadata
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.server.core import DEFAULT_SIGNATURE, Core, Target
from serving.server.errors import invalid
from serving.server.signature import Spec

PLATFORM = "tensorflow_savedmodel"
EXTENSIONS = ("binary_tensor_data", "model_versions", "parameters")
SIGNATURE = "signature_name"  # the parameter by which a request asks for another signature than serving_default
_DATATYPES = {
    "BOOL": "bool",
    **{f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("U", "") for bits in (8, 16, 32, 64)},
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
_NAMES = {name: datatype for datatype, name in _DATATYPES.items()}
_LENGTH = struct.Struct("<I")
_MOST_DIMENSIONS = 16


def datatype_of(dtype: np.dtype) -> str:
    """The protocol's name of a type; an own one for what it has none for."""
    return _NAMES.get(dtype.name, dtype.name.upper())


def dtype_of(name: str, datatype: Any) -> np.dtype:
    """Numpy's type.

    Raises:
      ServingError: no such type.
    """
    if not isinstance(datatype, str) or datatype not in _DATATYPES:
        raise invalid(f"input {name!r}: expected a datatype of {', '.join(_DATATYPES)}. Received: {datatype!r}")
    return np.dtype(_DATATYPES[datatype])


def count_of(name: str, shape: Any, dtype: np.dtype, most_bytes: int) -> int:
    """How many elements a tensor has.

    Raises:
      ServingError: a shape that is none, or is too large.
    """
    whole = isinstance(shape, Sequence) and all(isinstance(size, int) and size >= 0 for size in shape)
    if not whole or len(shape) > _MOST_DIMENSIONS:
        raise invalid(f"input {name!r}: expected a shape of whole numbers from 0. Received: {shape!r}")
    count = math.prod(shape)
    # A size of 0 lets the others be anything, and numpy counts them all the same.
    if math.prod(size or 1 for size in shape) * dtype.itemsize > most_bytes:
        raise invalid(f"input {name!r}: expected at most {most_bytes} bytes. Received: a tensor of shape {list(shape)}")
    return count


def from_raw(name: str, raw: bytes, dtype: np.dtype, shape: Sequence[int], count: int) -> np.ndarray:
    """A tensor of raw contents: row-major, little-endian; strings each with its length before it, in 4 bytes.

    Raises:
      ServingError: another number of bytes than the shape needs.
    """
    if dtype.hasobject:
        return shaped(name, _strings(name, raw, count), dtype, shape)
    if len(raw) != count * dtype.itemsize:
        raise invalid(f"input {name!r}: expected {count * dtype.itemsize} bytes. Received: {len(raw)}")
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def shaped(name: str, values: Sequence[Any], dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """A tensor of its elements in a row.

    Raises:
      ServingError: there are not as many as the shape says, or they are of another type.
    """
    if len(values) != math.prod(shape):
        raise invalid(f"input {name!r}: expected {math.prod(shape)} elements, by its shape. Received: {len(values)}")
    if dtype.hasobject:
        array = np.empty(len(values), object)
        array[:] = values
        return array.reshape(shape)
    try:
        given = np.array(values) if len(values) else np.zeros(0, dtype)
        if given.dtype.kind not in {"f": "iuf", "b": "b"}.get(dtype.kind, "iu"):
            raise ValueError("elements of another type")
        cast = given.astype(dtype)
        if dtype.kind in "iu" and not np.array_equal(cast, given):
            raise ValueError("a number out of range")
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid(f"input {name!r}: expected {dtype} elements. Received: {error}") from error
    return cast.reshape(shape)


def to_raw(array: np.ndarray) -> bytes:
    """Raw contents of an output."""
    if not array.dtype.hasobject:
        return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return b"".join(_LENGTH.pack(len(one)) + one for one in array.ravel().tolist())


def target_of(model: str, version: str, signature: Any) -> Target:
    """Whom a request asks.

    Raises:
      ServingError: a version that is no number.
    """
    if version and not (version.isascii() and version.isdigit() and int(version) < 2**63):
        raise invalid(f"expected a version that is a number. Received: {version!r}")
    if not isinstance(signature, str):
        raise invalid(f"parameter {SIGNATURE}: expected a string. Received: {signature!r}")
    return Target(model, int(version) if version else None, None, signature)


def server_metadata() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {
        "name": "arcface-tfx",
        "version": importlib.metadata.version("arcface-tfx"),
        "extensions": list(EXTENSIONS),
    }


def model_metadata(core: Core, target: Target) -> dict[str, Any]:
    """The versions that answer, and the tensors of `serving_default`, or of the only signature.

    Raises:
      ServingError: no such version.
    """
    with core.use(target) as version:
        assert version.servable is not None
        signatures = version.servable.signatures
        signature = signatures.get(DEFAULT_SIGNATURE) or next(iter(signatures.values()))
        return {
            "name": core.name,
            "versions": [str(available.number) for available in core.manager.available()],
            "platform": PLATFORM,
            "inputs": [_told(name, spec) for name, spec in signature.inputs.items()],
            "outputs": [_told(name, spec) for name, spec in signature.outputs.items()],
        }


def _told(name: str, spec: Spec) -> dict[str, Any]:
    sizes = [-1 if size is None else size for size in spec.shape or ()]
    return {"name": name, "datatype": datatype_of(spec.dtype), "shape": sizes}


def _strings(name: str, raw: bytes, count: int) -> list[bytes]:
    found: list[bytes] = []
    place = 0
    while place + _LENGTH.size <= len(raw) and len(found) < count:
        (length,) = _LENGTH.unpack_from(raw, place)
        place += _LENGTH.size + length
        found.append(raw[place - length : place])
    if place != len(raw) or len(found) != count:
        raise invalid(f"input {name!r}: expected {count} strings, each with its length before it. Received: others")
    return found
