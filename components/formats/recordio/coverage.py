"""Whether an index names every image of a `.rec`: a line that was lost would leave a person out in silence.

MXNet's writers and InsightFace's (im2rec, face2rec2, RecBuilder) write a line for each record. So bytes that no line
points to are a fault, or somebody's choice. What is lost at either end is an error, since a file that was cut looks so.
What is lost between is said, since a person may have taken lines out.
"""

from collections.abc import Mapping

import numpy as np

from arcface_common import filesystem
from components.formats.recordio.index import MEND, Index, read_index
from components.formats.recordio.layout import counted
from components.formats.recordio.records import Record, RecordError, RecordReader, record_error


def read_whole_index(reader: RecordReader, path: str) -> Index:
    """Reads the `.idx` of a `.rec`, and reads the first and the last record that it names.

    Args:
      reader: of the `.rec` file's path.
      path: the `.idx` file.

    Raises:
      RecordError: as `read_index`, or an image lies before the first or behind the last record of the index.
    """
    rec_bytes = filesystem.size(reader.path)
    index = read_index(path, rec_bytes=rec_bytes)
    if len(index):
        _check_ends(reader, index, rec_bytes)
    return index


def _check_ends(reader: RecordReader, index: Index, rec_bytes: int) -> None:
    first, last = int(index.offsets.argmin()), int(index.offsets.argmax())
    begin, end = int(index.offsets[first]), int(index.offsets[last])
    if _first_image(reader, 0, begin) is not None:
        expected = f"the first record of the .rec to have a line, too ({MEND})"
        received = "no line for the images before this one"
        raise record_error(index.path, int(index.keys[first]), begin, expected, received)
    try:
        reader.read_at(end)
    except RecordError:  # named where images are read, or quarantined there
        return
    if (lost := _first_image(reader, reader.end, rec_bytes)) is not None:
        expected = f"a line for each record of the .rec; this index was cut short, it seems ({MEND})"
        received = f"{len(index):,} lines, and none for the last {rec_bytes - lost:,} of {rec_bytes:,} bytes"
        raise record_error(index.path, int(index.keys[last]), end, expected, received)


def unnamed_bytes(reader: RecordReader, following: int) -> int:
    """Bytes between the record that was read last and the offset of the following one, if images lie there; else 0."""
    end = reader.end
    return following - end if end < following and _first_image(reader, end, following) is not None else 0


def _first_image(reader: RecordReader, begin: int, end: int) -> int | None:
    """Byte offset of the first record with an image that starts in `begin` .. `end` - 1.

    None where there is none, or where bytes are no record.
    """
    while begin < end:
        is_image = image_at(reader, begin)
        if is_image is None:
            return None
        if is_image:
            return begin
        begin = reader.end
    return None


def image_at(reader: RecordReader, offset: int) -> bool | None:
    """Whether the record at a byte offset has an image; None where there is no record."""
    try:
        return not is_without_image(reader.read(offset))
    except RecordError:
        return None


def is_without_image(record: Record) -> bool:
    """Whether it is a header or identity record, or one like them."""
    return record.vector and not record.payload


def unnamed_remarks(unnamed: Mapping[int, int]) -> tuple[str, ...]:
    """Says that images are left out, for want of a line.

    Args:
      unnamed: key of a record behind which such images lie -> how many bytes they take.
    """
    what = f"with images behind that train.idx has no line for, {sum(unnamed.values()):,} bytes left out"
    return counted(np.array(sorted(unnamed), np.int64), "record", what)
