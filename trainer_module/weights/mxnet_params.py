"""Reads MXNet's `.params` files without MXNet.

The layout (NDArray::Save and ::Load in MXNet's src/ndarray/ndarray.cc), all little-endian: uint64 0x112, uint64 0,
uint64 count, the arrays, uint64 count, the names (uint64 length, bytes). Four versions of an array exist:

| version | begins with | shape |
|---|---|---|
| before 0.9 | uint32 ndim, no magic number | uint32 dims |
| 1 | uint32 0xF993FAC8 | uint32 ndim, int64 dims |
| 2 | uint32 0xF993FAC9, int32 storage type | uint32 ndim, int64 dims |
| 3 (NumPy shapes) | uint32 0xF993FACA, int32 storage type | int32 ndim (-1: no array), int64 dims |

then int32 device type, int32 device number, int32 dtype, data; nothing after the shape where there is no array.
"""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from arcface_common import filesystem
from trainer_module.weights.graph import MAX_NETWORK_BYTES, WeightImportError

_LIST_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE_STORAGE = 0
_MAX_DIMENSIONS = 32
_DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8", 7: "?"}


class _Reader:
    """A cursor over the file's bytes that says where and in which array it is when it fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = memoryview(b"")
        self.offset = 0
        self.what = "the header"
        if (size := path.stat().st_size) > MAX_NETWORK_BYTES:
            raise self.error(f"at most {MAX_NETWORK_BYTES:,} bytes in the file (MAX_NETWORK_BYTES)", f"{size:,}")
        self.data = memoryview(filesystem.read_file(str(path)))

    def error(self, expected: str, received: object) -> WeightImportError:
        return WeightImportError(
            f"{self.path.name}: {self.what}, byte {self.offset}: expected {expected}. Received: {received}"
        )

    def bytes(self, count: int, of: str) -> memoryview:
        left = len(self.data) - self.offset
        if count > left:
            raise self.error(f"{count} bytes of {of}", f"the file's last {left} bytes")
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def values(self, layout: str, of: str) -> tuple[Any, ...]:
        layout = "<" + layout
        return struct.unpack(layout, self.bytes(struct.calcsize(layout), of))


def _shape(reader: _Reader) -> tuple[int, ...] | None:
    """Reads up to and with the shape; None where the file says that there is no array."""
    (magic,) = reader.values("I", "its first word")
    dim_format, first_dims = "q", None
    if magic == _V1:
        (ndim,) = reader.values("I", "its number of dimensions")
    elif magic in (_V2, _V3):
        (storage,) = reader.values("i", "its storage type")
        if storage != _DENSE_STORAGE:
            raise reader.error("a dense array (storage type 0)", f"storage type {storage}")
        (ndim,) = reader.values("i", "its number of dimensions")
        first_dims = -1 if magic == _V3 else 0
    else:
        ndim, dim_format = magic, "I"
    no_array = 0 if first_dims is None else first_dims
    if ndim == no_array:
        return None
    if not 0 <= ndim <= _MAX_DIMENSIONS:
        raise reader.error(f"at most {_MAX_DIMENSIONS} dimensions or a version's magic number", f"{ndim} ({magic:#x})")
    dims = reader.values(f"{ndim}{dim_format}", "its shape")
    if min(dims, default=1) < 1:
        raise reader.error("a shape of sizes above 0", dims)
    return dims


def _array(reader: _Reader) -> np.ndarray:
    shape = _shape(reader)
    if shape is None:
        return np.zeros((0,), np.float32)
    _, _, dtype = reader.values("iii", "its device and dtype")
    if dtype not in _DTYPES:
        raise reader.error(f"a dtype code of {sorted(_DTYPES)}", dtype)
    kind = np.dtype(_DTYPES[dtype])
    count = 1
    for size in shape:  # Python integers: a corrupt shape must not overflow into a small count
        count *= size
    data = reader.bytes(count * kind.itemsize, f"data ({kind.name} {list(shape)})")
    return np.frombuffer(data, kind).reshape(shape)


def read_params(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads all arrays of a `.params` file.

    Args:
      path: the file.

    Returns:
      Name as in the file (`arg:conv0_weight`, `aux:bn0_moving_mean`) -> array, read-only, dtype and shape as there.

    Raises:
      WeightImportError: no such format, sparse storage, an unknown dtype, a truncated file, arrays without names, a
        name twice, or bytes after the end. It says which array (counted from 0; names come last in the file) and at
        which byte.
      OSError: the file cannot be read.
    """
    reader = _Reader(Path(path))
    magic, _ = reader.values("QQ", "magic number")
    if magic != _LIST_MAGIC:
        raise reader.error(f"a list of arrays, which begins with {_LIST_MAGIC:#x}", f"{magic:#x}")
    (count,) = reader.values("Q", "the number of arrays")
    arrays = []
    for index in range(count):
        reader.what = f"array {index} of {count}"
        arrays.append(_array(reader))
    reader.what = "the names"
    (name_count,) = reader.values("Q", "the number of names")
    if name_count != count:
        raise reader.error(f"a name for each of {count} arrays", f"{name_count} names")
    named: dict[str, np.ndarray] = {}
    for index, array in enumerate(arrays):
        reader.what = f"name {index} of {count}"
        (length,) = reader.values("Q", "a name's length")
        raw = bytes(reader.bytes(length, "a name"))
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise reader.error("a name in UTF-8", raw) from error
        if name in named:
            raise reader.error("a new name", repr(name))
        named[name] = array
    reader.what = "the end"
    if reader.offset != len(reader.data):
        raise reader.error("nothing after the names", f"{len(reader.data) - reader.offset} more bytes")
    return named
