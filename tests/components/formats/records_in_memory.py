"""RecordIO files in memory."""

import io

import numpy as np

from components.formats.recordio import (
    Index,
    Record,
    RecordReader,
    RecordWriter,
    pack,
)


def written(contents: list[bytes]) -> tuple[io.BytesIO, list[int]]:
    file = io.BytesIO()
    with RecordWriter(file) as writer:
        offsets = [writer.append(x) for x in contents]
    return file, offsets


def face_records(counts: list[int], *, header: bool = True) -> list[tuple[int, bytes]]:
    """(key, packed record) of an InsightFace file with `counts` images of each identity."""
    images = [Record((float(label),), 0, 0, b"jpeg") for label, count in enumerate(counts) for _ in range(count)]
    records = [(key, pack(x._replace(id=key))) for key, x in enumerate(images, 1)]
    if not header:
        return records
    ends = np.cumsum([1, *counts])
    first = int(ends[-1])
    records.insert(0, (0, pack(Record((float(first), float(first + len(counts))), 0, 0, b""))))
    for i in range(len(counts)):
        labels = (float(ends[i]), float(ends[i + 1]))
        records.append((first + i, pack(Record(labels, first + i, 0, b""))))
    return records


def opened(records: list[tuple[int, bytes]]) -> tuple[RecordReader, Index]:
    file, offsets = written([x for _, x in records])
    return RecordReader(file), Index(np.array([x for x, _ in records]), np.array(offsets), "a.idx")
