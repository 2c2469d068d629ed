"""TFRecord files of tf.Examples, without TensorFlow: any file system, and written in a third of the time.

A record is `uint64 length, uint32 masked CRC-32C of the length, data, uint32 masked CRC-32C of the data`,
little-endian. Source: TensorFlow, `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/example/example.proto`.
"""

import contextlib
import functools
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import google_crc32c

from arcface_common import filesystem
from arcface_common.errors import DataError

_HEADER = struct.Struct("<QI")
_BYTES = tuple(bytes((value,)) for value in range(256))
_WRITE_BYTES = 1 << 18  # joined and written at a time: it stays in the core's cache


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@functools.lru_cache(maxsize=1 << 16)  # images of a data set share a few thousand lengths
def header(length: int) -> bytes:
    """What stands before a record's data, from its length."""
    return _HEADER.pack(length, _masked(google_crc32c.value(struct.pack("<Q", length))))


def footer(crc: int) -> bytes:
    """What stands behind a record's data, from its CRC-32C."""
    return _masked(crc).to_bytes(4, "little")


class TFRecordWriter:
    """Appends records to a file that is open for writing; `close` must follow.

    Args:
      file: a binary file; not closed here.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def write(self, data: Sequence[bytes]) -> None:
        """Writes one record, given in parts so that its bytes are copied once, together with its neighbours'."""
        crc = functools.reduce(google_crc32c.extend, data, 0)
        self.write_framed((header(sum(map(len, data))), *data, footer(crc)))

    def write_framed(self, parts: Sequence[bytes]) -> None:
        """Writes one record that has its header and footer."""
        self._pending += parts
        self._pending_bytes += sum(map(len, parts))
        if self._pending_bytes >= _WRITE_BYTES:
            self.close()

    def close(self) -> None:
        """Hands what is pending to the file."""
        self._file.write(b"".join(self._pending))
        self._pending, self._pending_bytes = [], 0


def read_records(path: str) -> Iterator[bytes]:
    """The records of a file on any file system, one after the other.

    Raises:
      DataError: it is cut short, or a checksum doesn't fit.
    """
    with filesystem.open_read(path) as file:
        while head := file.read(_HEADER.size):
            length = _HEADER.unpack(head)[0] if len(head) == _HEADER.size else 0
            data, foot = (file.read(length), file.read(4)) if head == header(length) else (b"", b"")
            if len(data) != length or foot != footer(google_crc32c.value(data)):
                raise DataError(f"{path}: expected whole TFRecords. Received: a damaged one")
            yield data


@contextlib.contextmanager
def tfrecord_aside(path: str, aside: str, reserve: int = 0) -> Iterator[TFRecordWriter]:
    """Writes a TFRecord file in another folder and renames it, so that a reader's glob never meets half a shard.

    Args:
      path: where the shard belongs.
      aside: folder for the unfinished file, on the same file system.
      reserve: about how many bytes will be written.

    Yields:
      The writer; if the body raises, the unfinished file is removed and `path` does not appear.
    """
    with filesystem.write_aside(path, aside, reserve) as file:
        with contextlib.closing(TFRecordWriter(file)) as writer:
            yield writer


def varint(value: int) -> bytes:
    """A protobuf varint of a non-negative integer below 2**63."""
    if value < 1 << 7:
        return _BYTES[value]
    if value < 1 << 14:
        return _BYTES[value & 0x7F | 0x80] + _BYTES[value >> 7]
    return _BYTES[value & 0x7F | 0x80] + varint(value >> 7)


@functools.lru_cache(maxsize=1 << 16)
def bytes_head(name: str, length: int) -> tuple[bytes, int]:
    """What stands before the value of a bytes feature in the map of features, and the size of the whole entry."""
    head = b"\x0a" + varint(length)  # BytesList.value
    for tag in (b"\x0a", b"\x12"):  # Feature.bytes_list, the map entry's value
        head = tag + varint(len(head) + length) + head
    head = b"\x0a" + varint(len(name)) + name.encode("ascii") + head  # the map entry's key
    head = b"\x0a" + varint(len(head) + length) + head  # Features.feature
    return head, len(head) + length


@functools.lru_cache(maxsize=1 << 10)
def int_head(name: str, length: int) -> bytes:
    """What stands before the varint of an int64 feature in the map of features."""
    head = b""
    for tag in (b"\x0a", b"\x1a", b"\x12"):  # Int64List.value (packed), Feature.int64_list, the map entry's value
        head = tag + varint(len(head) + length) + head
    head = b"\x0a" + varint(len(name)) + name.encode("ascii") + head  # the map entry's key
    return b"\x0a" + varint(len(head) + length) + head  # Features.feature


def _bytes_list_entry(name: str, values: list[bytes]) -> bytes:
    """A bytes feature of any number of values in the map of features."""
    entry = b"".join(b"\x0a" + varint(len(value)) + value for value in values)  # BytesList.value
    for tag in (b"\x0a", b"\x12"):  # Feature.bytes_list, the map entry's value
        entry = tag + varint(len(entry)) + entry
    entry = b"\x0a" + varint(len(name)) + name.encode("ascii") + entry  # the map entry's key
    return b"\x0a" + varint(len(entry)) + entry  # Features.feature


def example_parts(values: Mapping[str, bytes | int | list[bytes]]) -> list[bytes]:
    """A serialized tf.Example in parts: the large ones are the values themselves.

    Joined, it is byte for byte what `SerializeToString(deterministic=True)` gives (protobuf sorts a map's keys there;
    otherwise their order is that of a hash, which differs from process to process), in a quarter of its time. Where a
    name begins with another, protobuf puts the longer one first and we don't.

    Args:
      values: ASCII name -> bytes, an integer of 0 .. 2**63 - 1, or a few short bytes.
    """
    parts: list[bytes] = []
    small = b""  # heads and numbers up to the next large value
    total = 0
    for name in sorted(values):
        value = values[name]
        if isinstance(value, bytes):
            head, size = bytes_head(name, len(value))
            parts += (small + head, value)
            small = b""
            total += size
        elif isinstance(value, list):
            entry = _bytes_list_entry(name, value)
            small += entry
            total += len(entry)
        else:
            number = varint(value)
            entry = int_head(name, len(number)) + number
            small += entry
            total += len(entry)
    parts.append(small)
    parts[0] = b"\x0a" + varint(total) + parts[0]  # Example.features
    return parts
