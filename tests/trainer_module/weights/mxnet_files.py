"""Writes MXNet's `.params` in every version of the format, independently of the reader's code."""

import struct
from pathlib import Path

import numpy as np

DTYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def write_params(path: Path, arrays: dict[str, np.ndarray], version: int) -> None:
    """A `.params` file; version 0 is that of MXNet before 0.9."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        shape = array.shape
        if version == 0:
            parts.append(struct.pack(f"<I{len(shape)}I", len(shape), *shape))
        elif version == 1:
            parts.append(struct.pack(f"<II{len(shape)}q", 0xF993FAC8, len(shape), *shape))
        else:
            parts.append(struct.pack(f"<Iii{len(shape)}q", 0xF993FAC7 + version, 0, len(shape), *shape))
        parts.append(struct.pack("<iii", 1, 0, DTYPES[array.dtype.name]))
        parts.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts.append(struct.pack("<Q", len(name.encode())) + name.encode())
    path.write_bytes(b"".join(parts))
