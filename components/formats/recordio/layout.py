"""What the keys of a face data set mean: InsightFace's header and identity records, or im2rec's plain images.

InsightFace writes key 0 with the labels (first identity key, last identity key + 1), the images at keys 1 .. first
identity key - 1, and behind them one record an identity with the labels (first image key, last image key + 1).
"""

import array
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from arcface_common.features import IMAGE_SIZE
from components.formats.recordio.index import Index, write_index
from components.formats.recordio.records import (
    FLOAT32_EXACT,
    Record,
    RecordReader,
    RecordWriter,
    pack,
    record_error,
)

REC_FILE = "train.rec"
IDX_FILE = "train.idx"
PROPERTY_FILE = "property"

_HEADER_KEY = 0
_SHOWN = 3  # keys that a remark names, labels that an error does


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
      remarks: what is odd about index, header and identity records though every image can be read, in words.
    """

    image_keys: np.ndarray
    image_offsets: np.ndarray
    identity_keys: np.ndarray
    identity_ranges: np.ndarray
    num_identities: int | None
    remarks: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.image_keys)


def read_layout(reader: RecordReader, index: Index) -> DatasetLayout:
    """Reads the header record and the identity records (28 bytes each), no image.

    A record at key 0 counts as the header if it carries a label vector and no image, so that im2rec's files, in which
    key 0 is an image, are told apart. Images whose keys are missing are left out: face2rec2 writes none for a file that
    it cannot read.

    Args:
      reader: the `.rec` file.
      index: its `.idx`.

    Returns:
      The layout; without a header record, every key is an image.

    Raises:
      RecordError: the index is empty, or lacks all images or an identity record that the header announces, or an
        identity's range is no range of image keys.
    """
    if not len(index):
        raise record_error(index.path, None, None, "at least one record", "an empty index")
    index = index.sorted_by_key()
    header = _header(reader, index)
    if header is None:
        none = np.empty(0, np.int64)
        return DatasetLayout(index.keys, index.offsets, none, none.reshape(0, 2), None)
    begin, end = _identity_keys(reader, index, header)
    first_image, first_identity, behind = np.searchsorted(index.keys, (1, begin, end)).tolist()
    images, identities = slice(first_image, first_identity), slice(first_identity, behind)
    _check_present(index, begin, end)
    entries = zip(index.keys[identities].tolist(), index.offsets[identities].tolist(), strict=True)
    ranges = np.array([_range(reader, key, offset, begin) for key, offset in entries], np.int64)
    return DatasetLayout(
        image_keys=index.keys[images],
        image_offsets=index.offsets[images],
        identity_keys=index.keys[identities],
        identity_ranges=ranges.reshape(-1, 2),
        num_identities=end - begin,
        remarks=(
            *counted(_missing(index.keys[images], begin), "image key", "that the header record announces, missing"),
            *counted(index.keys[behind:], "record", "behind the last identity record, left out"),
        ),
    )


def counted(keys: np.ndarray, noun: str, what: str) -> tuple[str, ...]:
    """A remark on records by number and first keys, such as "2 image keys ..., missing: 5, 40"; none without keys."""
    if not len(keys):
        return ()
    shown = ", ".join(map(str, keys[:_SHOWN].tolist()))
    return (f"{len(keys):,} {noun}{'' if len(keys) == 1 else 's'} {what}: {shown}{', ...' * (len(keys) > _SHOWN)}",)


def _missing(keys: np.ndarray, end: int) -> np.ndarray:
    """Which of 1 .. end - 1 are not among these ascending ones."""
    return np.empty(0, np.int64) if len(keys) == end - 1 else np.setdiff1d(np.arange(1, end), keys, assume_unique=True)


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
        raise record_error(reader.path, _HEADER_KEY, offset, expected, _shown(labels))
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
    near = slice(*np.searchsorted(index.keys, (begin - slack, begin + slack + 1)))
    for key, offset in zip(index.keys[near].tolist(), index.offsets[near].tolist(), strict=True):
        if not reader.read(offset, key=key).payload:
            return key, last + 1
    raise record_error(reader.path, begin, None, f"an identity record within {slack} keys", "images only")


def _check_present(index: Index, begin: int, end: int) -> None:
    """The sorted index must hold an image and all identity records: they come last, so that one cut short lacks some.

    Raises:
      RecordError: names the first key that is missing.
    """
    first, behind = np.searchsorted(index.keys, (begin, end)).tolist()
    gaps = np.flatnonzero(index.keys[first:behind] != np.arange(begin, begin + behind - first))
    missing = begin + (int(gaps[0]) if len(gaps) else behind - first)
    if first <= 1:
        missing = 1
    elif missing >= end:
        return
    expected = f"all of the keys {begin} .. {end - 1} of identity records, and images before, as the header announces"
    kind = "image" if missing < begin else "identity record"
    raise record_error(index.path, missing, None, expected, f"{len(index)} keys, no such {kind}")


def _range(reader: RecordReader, key: int, offset: int, images_end: int) -> tuple[int, int]:
    """First and last image key of one identity."""
    labels = reader.read(offset, key=key).labels
    whole = len(labels) == 2 and all(np.isfinite(x) and x == int(x) for x in labels)
    slack = 0 if images_end <= FLOAT32_EXACT else int(np.spacing(np.float32(images_end)))
    if not whole or not 1 <= labels[0] <= labels[1] <= images_end + slack:
        expected = f"labels (first image key, last image key + 1) within 1 .. {images_end}"
        raise record_error(reader.path, key, offset, expected, _shown(labels))
    return int(labels[0]), int(labels[1]) - 1


def _shown(labels: tuple[float, ...]) -> str:
    return f"labels {labels}" if len(labels) <= _SHOWN else f"{len(labels):,} labels"


def write_layout(folder: Path, identities: Iterable[Iterable[bytes]]) -> list[int]:
    """Writes `train.rec`, `train.idx` and `property` with header and identity records, as InsightFace publishes them.

    Args:
      folder: an existing folder; files of these names are replaced.
      identities: the encoded images of each identity; the first that has any gets the label 0, the next one 1.

    Returns:
      How many images each identity had; one without any has no label.

    Raises:
      RecordError: a record is too long, or more than 2**24 records, whose keys the labels cannot hold.
    """
    counts: list[int] = []
    offsets = array.array("q")

    def append(writer: RecordWriter, labels: tuple[float, ...], payload: bytes = b"") -> None:
        offsets.append(writer.append(pack(Record(labels, len(offsets), 0, payload))))

    with RecordWriter(folder / REC_FILE) as writer:
        append(writer, (0, 0))  # the header, until the counts are known; two labels take as many bytes
        label = 0
        for images in identities:
            begin = len(offsets)
            for image in images:
                append(writer, (label,), image)
            counts.append(len(offsets) - begin)
            label += counts[-1] > 0
            if len(offsets) + label > FLOAT32_EXACT:
                expected = "at most 2**24 images and identities, which labels can count"
                raise record_error(writer.path, None, None, expected, f"{len(offsets) + label:,} so far")
        header = (len(offsets), len(offsets) + label)
        begin = 1
        for count in filter(None, counts):
            append(writer, (begin, begin + count))
            begin += count
    with open(folder / REC_FILE, "r+b") as file:
        RecordWriter(file).append(pack(Record(header, _HEADER_KEY, 0, b"")))
    write_index(str(folder / IDX_FILE), range(len(offsets)), offsets)
    (folder / PROPERTY_FILE).write_text(f"{label},{IMAGE_SIZE},{IMAGE_SIZE}")
    return counts
