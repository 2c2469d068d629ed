"""TF Serving's JSON: row form (`instances`) and columns (`inputs`) to arrays, and outputs back."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from serving.server.batching import Tensors
from serving.server.errors import invalid
from serving.server.signature import Signature, Spec, kind

_BYTES = "_bytes"  # an output whose name ends so is base64
_B64 = "b64"
_MOST_DIMENSIONS = 16
_KINDS = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}  # a spec's kind of number -> what JSON may hold for it


def parse(body: bytes) -> dict[str, Any]:
    """A request's JSON object; NaN and Infinity are numbers, as for TF Serving.

    Raises:
      ServingError: it is none.
    """
    try:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error or type(error).__name__}") from error
    if not isinstance(document, dict):
        raise invalid("JSON Value: Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid("JSON Value: not formatted correctly. 'signature_name' key must be a string value.")
    return document


def inputs_of(document: Mapping[str, Any], signature: Signature) -> tuple[Tensors, bool]:
    """A request's arrays, and whether they came in rows.

    Raises:
      ServingError: they are not what the signature takes.
    """
    given = [name for name in ("instances", "inputs") if name in document]
    if len(given) == 2:
        raise invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if not given:
        raise invalid("Missing 'inputs' or 'instances' key")
    rows, value = given == ["instances"], document[given[0]]
    if rows:
        if not isinstance(value, list):
            raise invalid("Excepting 'instances' to be an list/array")
        if not value:
            raise invalid("No values in 'instances' array")
        columns = _columns(value, signature)
    elif isinstance(value, dict) and not _is_base64(value):
        for name in signature.inputs:
            if name not in value:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        columns = {name: value[name] for name in signature.inputs}
    elif len(signature.inputs) > 1:
        raise invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required")
    else:
        columns = {next(iter(signature.inputs)): value}
    return {name: _array(name, column, signature.inputs[name]) for name, column in columns.items()}, rows


def answer(outputs: Tensors, rows: bool) -> bytes:
    """An answer's JSON, in the form of its request.

    Raises:
      ServingError: an output has no rows, where they were asked for.
    """
    ready = {name: _writable(name, array) for name, array in outputs.items()}
    if not rows:
        return dumped({"outputs": next(iter(ready.values())) if len(ready) == 1 else ready})
    counts = {name: len(array) if np.ndim(array) else None for name, array in outputs.items()}
    if None in counts.values() or len(set(counts.values())) != 1:
        raise invalid(f"expected outputs of equally many rows; ask for columns ('inputs'). Received: {counts}")
    if len(ready) == 1:
        return dumped({"predictions": next(iter(ready.values()))})
    return dumped({"predictions": [dict(zip(ready, row, strict=True)) for row in zip(*ready.values(), strict=True)]})


def _columns(instances: list[Any], signature: Signature) -> dict[str, list[Any]]:
    """Input -> its value in each row."""
    objects = [isinstance(row, dict) and not _is_base64(row) for row in instances]
    if not objects[0]:
        if len(signature.inputs) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            )
        if any(objects):
            raise invalid(f"Expecting value/list but got object at item {objects.index(True)} of input list")
        return {next(iter(signature.inputs)): instances}
    for i, row in enumerate(instances):
        if not objects[i]:
            raise invalid(f"Expecting object but got list at item {i} of input list")
        if row.keys() != signature.inputs.keys():
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON object: keys must be equal to: "
                f"{','.join(signature.inputs)}"
            )
    return {name: [row[name] for row in instances] for name in signature.inputs}


def _array(name: str, value: Any, spec: Spec) -> np.ndarray:
    """Nested lists as an array of the input's type."""
    try:
        if spec.dtype.hasobject:
            return _strings(value)
        array = np.array(value)
        allowed = _KINDS.get(spec.dtype.kind, "")
        if array.size and array.dtype.kind not in allowed:
            raise invalid(f"input {name!r}: JSON Value is not of expected type: {kind(spec.dtype)}")
        with np.errstate(over="ignore"):
            cast = array.astype(spec.dtype)
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        raise invalid(f"input {name!r}: expected lists of equal sizes. Received: {error}") from error
    exact = array.dtype.kind in "iu" and cast.dtype.kind in "iu"
    if (
        exact
        and not np.array_equal(cast, array)
        or np.isinf(cast).any()
        and not np.array_equal(np.isinf(cast), np.isinf(array.astype(np.float64)))
    ):
        raise invalid(f"input {name!r}: Cannot convert JSON value to {kind(spec.dtype)} without loss of precision.")
    return cast


def _strings(value: Any) -> np.ndarray:
    """Nested lists of strings and of {"b64": ...} as an array of bytes."""
    leaves: list[bytes] = []
    shape = _shape(value)
    _collect(value, shape, leaves)
    array = np.empty(len(leaves), object)
    array[:] = leaves
    return array.reshape(shape)


def _shape(value: Any) -> list[int]:
    shape: list[int] = []
    while isinstance(value, list) and len(shape) < _MOST_DIMENSIONS:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _collect(value: Any, shape: list[int], leaves: list[bytes]) -> None:
    if isinstance(value, list):
        if not shape or len(value) != shape[0]:
            raise invalid(f"Encountered list at unexpected size: {len(value)}")
        for item in value:
            _collect(item, shape[1:], leaves)
    elif shape:
        raise invalid("JSON Value found at incorrect level in the JSON DOM")
    elif isinstance(value, str):
        leaves.append(value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, dict) and _is_base64(value):
        leaves.append(_decoded(value[_B64]))
    else:
        raise invalid(f"JSON Value Type: {type(value).__name__} is not of expected type: string")


def _decoded(text: str) -> bytes:
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _is_base64(value: dict[str, Any]) -> bool:
    return len(value) == 1 and isinstance(value.get(_B64), str)


def _writable(name: str, array: np.ndarray) -> Any:
    """An output as orjson writes it."""
    array = np.asarray(array)
    if not array.dtype.hasobject:
        return np.ascontiguousarray(array) if array.ndim else array[()]
    if name.endswith(_BYTES):
        return np.vectorize(lambda one: {_B64: base64.b64encode(one).decode()}, otypes=[object])(array).tolist()
    return np.vectorize(lambda one: one.decode("utf-8", "replace"), otypes=[object])(array).tolist()


def dumped(document: Any) -> bytes:
    """JSON with floats as short as they can be; orjson writes null for NaN and infinity, which TF Serving names."""
    arrays = _arrays(document)
    if all(array.dtype.kind != "f" or np.isfinite(array).all() for array in arrays):
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(document, default=lambda array: array.tolist()).encode()


def _arrays(document: Any) -> list[Any]:
    if isinstance(document, dict | list):
        inner = document.values() if isinstance(document, dict) else document
        return [array for value in inner for array in _arrays(value)]
    return [document] if isinstance(document, np.ndarray | np.generic) else []
