"""What the keys of a face data set mean: InsightFace's header and identity records, or im2rec's plain images.

InsightFace writes key 0 with the labels (first identity key, last identity key + 1), the images at keys 1 .. first
identity key - 1, and behind them one record an identity with the labels (first image key, last image key + 1).
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from components.recordio.index import Index, write_index
from components.recordio.records import (
    FLOAT32_EXACT,
    Record,
    RecordReader,
    RecordWriter,
    pack,
    record_error,
)
from trainer_module.features import IMAGE_SIZE

REC_FILE = "train.rec"
IDX_FILE = "train.idx"
PROPERTY_FILE = "property"

_HEADER_KEY = 0


@dataclasses.dataclass(frozen=True)
class DatasetLayout:
    """Which records are images, and whose.

    Attributes:
      image_keys: int64 [N], ascending.
      image_offsets: int64 [N], byte offset of each image record.
      identity_keys: int64 [C], ascending; empty without a header record.
      identity_ranges: int64 [C, 2], first and last image key (both included) of each identity; empty without a header
        record. Above 2**24 the file itself holds them rounded to float32.
      num_identities: C, or None without a header record: then only the images' labels can tell.
    """

    image_keys: np.ndarray
    image_offsets: np.ndarray
    identity_keys: np.ndarray
    identity_ranges: np.ndarray
    num_identities: int | None

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.image_keys)


def read_layout(reader: RecordReader, index: Index) -> DatasetLayout:
    """Reads the header record and the identity records (28 bytes each), no image.

    A record at key 0 counts as the header if it carries a label vector and no image, so that im2rec's files, in which
    key 0 is an image, are told apart.

    Args:
      reader: the `.rec` file.
      index: its `.idx`.

    Returns:
      The layout; without a header record, every key is an image.

    Raises:
      RecordError: the index is empty, a key that the header announces is missing, or an identity's range is no range
        of image keys.
    """
    if not len(index):
        raise record_error(index.path, None, None, "at least one record", "an empty index")
    index = index.sorted_by_key()
    header = _header(reader, index)
    if header is None:
        none = np.empty(0, np.int64)
        return DatasetLayout(index.keys, index.offsets, none, none.reshape(0, 2), None)
    begin, end = _identity_keys(reader, index, header)
    _check_present(index, begin, end)
    images = slice(1, begin)  # keys 0 .. end - 1 are all there, so a key is its own position
    ranges = np.array([_range(reader, index, key, begin) for key in range(begin, end)], np.int64)
    return DatasetLayout(
        image_keys=index.keys[images],
        image_offsets=index.offsets[images],
        identity_keys=index.keys[begin:end],
        identity_ranges=ranges.reshape(-1, 2),
        num_identities=end - begin,
    )


def _header(reader: RecordReader, index: Index) -> Record | None:
    if index.keys[0] != _HEADER_KEY:
        return None
    record = reader.read(index.offsets[0], key=_HEADER_KEY)
    return record if record.vector and not record.payload else None


def _identity_keys(reader: RecordReader, index: Index, header: Record) -> tuple[int, int]:
    """First identity key and last + 1, exactly."""
    offset = int(index.offsets[0])
    labels = header.labels
    whole = len(labels) == 2 and all(np.isfinite(x) and x == int(x) for x in labels)
    if not whole or not 1 < labels[0] < labels[1]:
        expected = "labels (first identity key, last identity key + 1), 1 < first < last + 1"
        raise record_error(reader.path, _HEADER_KEY, offset, expected, f"labels {labels}")
    begin, end = (int(x) for x in labels)
    if end <= FLOAT32_EXACT:
        return begin, end
    return _unrounded(reader, index, begin, end)


def _unrounded(reader: RecordReader, index: Index, begin: int, end: int) -> tuple[int, int]:
    """The keys that the header rounded: beyond 2**24 keys (Glint360K has 17.5 M), float32 steps by 2, 4, ..

    The first identity key is where records without an image begin, and the identities end with the index.
    """
    slack = int(np.spacing(np.float32(end)))
    last = int(index.keys[-1])
    if abs(last + 1 - end) > slack:
        raise record_error(index.path, last, None, f"a last key of {end - 1}, give or take {slack}", f"{last}")
    _check_present(index, begin - slack, last + 1)
    for key in range(begin - slack, begin + slack + 1):
        if not reader.read(index.offsets[key], key=key).payload:
            return key, last + 1
    offset = int(index.offsets[begin])
    raise record_error(reader.path, begin, offset, f"an identity record within {slack} keys", "images only")


def _check_present(index: Index, begin: int, end: int) -> None:
    """Keys 0 .. end - 1 must all be in the sorted index, which makes position and key the same number."""
    expected = f"all of the keys 1 .. {end - 1} that the header record announces"
    present = index.keys[: min(end, len(index))]
    gaps = np.flatnonzero(present != np.arange(len(present)))
    if len(gaps) or len(present) < end:
        missing = int(gaps[0]) if len(gaps) else len(present)
        kind = "image" if missing < begin else "identity record"
        raise record_error(index.path, missing, None, expected, f"{len(index)} keys, no such {kind}")


def _range(reader: RecordReader, index: Index, key: int, images_end: int) -> tuple[int, int]:
    """First and last image key of one identity."""
    offset = int(index.offsets[key])
    labels = reader.read(offset, key=key).labels
    whole = len(labels) == 2 and all(np.isfinite(x) and x == int(x) for x in labels)
    slack = 0 if images_end <= FLOAT32_EXACT else int(np.spacing(np.float32(images_end)))
    if not whole or not 1 <= labels[0] <= labels[1] <= images_end + slack:
        expected = f"labels (first image key, last image key + 1) within 1 .. {images_end}"
        raise record_error(reader.path, key, offset, expected, f"labels {labels}")
    return int(labels[0]), int(labels[1]) - 1


def write_layout(folder: Path, counts: Sequence[int], identities: Iterable[Iterable[bytes]]) -> None:
    """Writes `train.rec`, `train.idx` and `property` with header and identity records, as InsightFace publishes them.

    Args:
      folder: an existing folder; files of these names are replaced.
      counts: images of each identity.
      identities: the encoded images of each identity, as many as `counts` says; identity i gets the label i.

    Raises:
      RecordError: a record is too long, or a key too large for a label.
    """
    first_identity = sum(counts) + 1
    end = first_identity + len(counts)
    offsets: list[int] = []
    with RecordWriter(folder / REC_FILE) as writer:

        def append(labels: tuple[float, ...], payload: bytes = b"") -> None:
            offsets.append(writer.append(pack(Record(labels, len(offsets), 0, payload))))

        append((first_identity, end))
        for label, images in enumerate(identities):
            for image in images:
                append((label,), image)
        begin = 1
        for count in counts:
            append((begin, begin + count))
            begin += count
    write_index(str(folder / IDX_FILE), range(end), offsets)
    (folder / PROPERTY_FILE).write_text(f"{len(counts)},{IMAGE_SIZE},{IMAGE_SIZE}")
