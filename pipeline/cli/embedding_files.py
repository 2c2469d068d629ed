"""Files of embeddings, written batch by batch: .npz, .npy, .csv and .parquet. Imports pyarrow for .parquet alone.

| ending | what it holds | memory beside a batch |
|---|---|---|
| `.npz` | `names` [N], `embeddings` float32 [N, D], `norms` float32 [N] | names and norms |
| `.npy` | float32 [N, D]: row i is image i, NaN where it was left out | none |
| `.csv` | a line an image: name, norm, e0 ... e(D-1) | none |
| `.parquet` | name, norm, embedding (float32 [D]) | 4,096 rows: 8 MB of 512 values |
"""

import contextlib
import csv
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from arcface_common.aside import file_aside

# Is given names, positions among all images (int64 [N], ascending), embeddings float32 [N, D] and norms float32 [N] of
# the next images.
Write = Callable[[list[str], np.ndarray, np.ndarray, np.ndarray], None]

_ROWS_PER_GROUP = 4096
_NAMES_AT_A_TIME = 65_536


@contextlib.contextmanager
def embedding_file(path: str, dim: int, images: int) -> Iterator[Write]:
    """Writes a file of embeddings aside, and renames it when the body has ended well.

    Args:
      path: the file; its ending is one of these four.
      dim: D.
      images: how many there are, with those that are left out.

    Yields:
      The function that takes each batch.
    """
    writer = _WRITERS[os.path.splitext(path)[1].lower()]
    with file_aside(Path(path)) as aside, writer(str(aside), dim, images) as write:
        yield write


@contextlib.contextmanager
def _npy(path: str, dim: int, images: int) -> Iterator[Write]:
    rows = 0

    def fill(end: int) -> None:
        nonlocal rows
        for _ in range(rows, end):
            file.write(np.full(dim, np.nan, "<f4").tobytes())
        rows = max(rows, end)

    def write(names: list[str], positions: np.ndarray, embeddings: np.ndarray, norms: np.ndarray) -> None:
        nonlocal rows
        for position, embedding in zip(positions.tolist(), np.ascontiguousarray(embeddings, "<f4"), strict=True):
            fill(position)
            file.write(embedding.tobytes())
            rows += 1

    with open(path, "wb") as file:
        _header(file, "<f4", (0, dim))
        begin = file.tell()
        yield write
        fill(images)
        file.seek(0)
        _header(file, "<f4", (rows, dim))  # numpy leaves room in it for the number of rows to grow
        if file.tell() != begin:
            raise RuntimeError(f"expected numpy's header of {begin} bytes. Received: {file.tell()}")


@contextlib.contextmanager
def _npz(path: str, dim: int, images: int) -> Iterator[Write]:
    names: list[str] = []
    norms: list[np.ndarray] = [np.zeros(0, "<f4")]
    embeddings = f"{path}.embeddings"  # in the folder of the unfinished file, and gone with it

    def write(some: list[str], positions: np.ndarray, vectors: np.ndarray, lengths: np.ndarray) -> None:
        rows = np.arange(len(names), len(names) + len(some))  # those that were left out have none
        names.extend(some)
        norms.append(lengths)
        write_vectors(some, rows, vectors, lengths)

    with _npy(embeddings, dim, 0) as write_vectors:
        yield write
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(embeddings, "embeddings.npy")
        with archive.open("norms.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.concatenate(norms).astype("<f4"))
        with archive.open("names.npy", "w", force_zip64=True) as file:
            _write_names(file, names)


def _write_names(file: IO[bytes], names: list[str]) -> None:
    """Names as numpy's text of fixed width, some at a time: a million of 60 characters are 240 MB as an array."""
    kind = f"<U{max(map(len, names), default=1) or 1}"
    _header(file, kind, (len(names),))
    for begin in range(0, len(names), _NAMES_AT_A_TIME):
        file.write(np.array(names[begin : begin + _NAMES_AT_A_TIME], kind).tobytes())


def _header(file: IO[bytes], kind: str, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})


@contextlib.contextmanager
def _csv(path: str, dim: int, images: int) -> Iterator[Write]:
    def write(names: list[str], positions: np.ndarray, embeddings: np.ndarray, norms: np.ndarray) -> None:
        # numpy's text of a float32 is the shortest that reads back as the same number.
        values = np.column_stack([norms, embeddings]).astype(np.float32).astype(str)
        rows.writerows([name, *of_image] for name, of_image in zip(names, values.tolist(), strict=True))

    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "norm", *(f"e{i}" for i in range(dim))])
        yield write


@contextlib.contextmanager
def _parquet(path: str, dim: int, images: int) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    vector = pa.list_(pa.float32(), dim)
    schema = pa.schema([("name", pa.string()), ("norm", pa.float32()), ("embedding", vector)])
    waiting: list[Any] = []

    def write(names: list[str], positions: np.ndarray, embeddings: np.ndarray, norms: np.ndarray) -> None:
        values = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel(), pa.float32()), dim)
        waiting.append(pa.table([pa.array(names), pa.array(norms, pa.float32()), values], schema=schema))
        if sum(len(table) for table in waiting) >= _ROWS_PER_GROUP:
            flush()

    def flush() -> None:
        if waiting:
            file.write_table(pa.concat_tables(waiting))
            waiting.clear()

    with pq.ParquetWriter(path, schema) as file:
        yield write
        flush()


_WRITERS: dict[str, Callable[[str, int, int], contextlib.AbstractContextManager[Write]]] = {
    ".npz": _npz,
    ".csv": _csv,
    ".parquet": _parquet,
    ".npy": _npy,
}
