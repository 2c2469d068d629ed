"""Records: what one of them holds (`pack`, `unpack`), and `.rec` files of them (`RecordReader`, `RecordWriter`).

A record is `uint32 magic, uint32 (3 bits cflag | 29 bits length), payload, zeros up to 4 bytes`, little-endian. A
payload that holds the magic at a multiple of 4 bytes is cut there into parts (cflag 1, 2 .. 2, 3) and read back joined
with the magic, so that the magic at an aligned file offset always starts a record. Source: dmlc-core `recordio.cc`.
"""

import os
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from arcface_common.errors import DataError
from arcface_common.filesystem import open_read

MAGIC = struct.pack("<I", 0xCED7230A)
MAX_RECORD_BYTES = 2**29  # exclusive: the length field has 29 bits
MAX_LABELS = 2**16  # of one record: a face's has 1, InsightFace's header 2; 2**27 of them take 4 GB in Python
FLOAT32_EXACT = 2**24  # the labels are float32: above this, not every integer can be stored

_PREFIX = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")  # MXNet's IRHeader: flag, label, id, id2 (24 bytes)
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


class RecordError(DataError):
    """A file is not what the format says; the message names file, key, byte offset, the expected and the received."""


class Record(NamedTuple):
    """One record as MXNet's `IRHeader` and the bytes behind it.

    Attributes:
      labels: at least one value, stored as float32.
      id: 0 .. 2**64 - 1; InsightFace and im2rec put the record's key here.
      id2: 0 .. 2**64 - 1, usually 0.
      payload: the encoded image, empty in InsightFace's header and identity records.
      vector: store a single label as a vector of length 1 (flag 1) and not in the header's own field (flag 0).
        Several labels are always a vector.
    """

    labels: tuple[float, ...]
    id: int
    id2: int
    payload: bytes
    vector: bool = False

    @property
    def label(self) -> float:
        """The first label: in an image record, the identity."""
        return self.labels[0]


def record_error(path: str, key: int | None, offset: int | None, expected: str, received: str) -> RecordError:
    """The one form of all messages: where, what was expected, what was there; None leaves a part of the place out."""
    where = [str(path)]
    if key is not None:
        where.append(f"key {key}")
    if offset is not None:
        where.append(f"byte offset {offset}")
    return RecordError(f"{', '.join(where)}: expected {expected}. Received: {received}")


def pack(record: Record) -> bytes:
    """Serialises a record, byte for byte as `mxnet.recordio.pack`.

    Args:
      record: labels are rounded to float32, except that an integer must be stored exactly.

    Returns:
      The payload of one RecordIO record.

    Raises:
      RecordError: no label or more than `MAX_LABELS`, a label outside float32 or an integer that float32 cannot hold,
        an id outside 64 bits.
    """
    labels, identifier, id2, payload, vector = record
    if not 0 < len(labels) <= MAX_LABELS:
        raise RecordError(f"expected 1 to {MAX_LABELS:,} labels. Received: {len(labels):,} labels")
    try:
        stored = struct.pack(f"<{len(labels)}f", *labels)
        if any(abs(x) > FLOAT32_EXACT and x != y for x, y in zip(labels, _floats(stored), strict=True) if x == x // 1):
            raise RecordError(f"expected integers that float32 holds (all up to 2**24). Received: labels={labels!r}")
        if vector or len(labels) > 1:
            return _HEADER.pack(len(labels), 0.0, identifier, id2) + stored + payload
        return _HEADER.pack(0, labels[0], identifier, id2) + payload
    except (struct.error, OverflowError) as error:
        raise RecordError(
            f"expected float32 labels and ids of 0 .. 2**64 - 1 ({error}). "
            f"Received: labels={labels!r}, id={identifier!r}, id2={id2!r}"
        ) from error


def unpack(data: bytes, *, path: str = "record", key: int | None = None, offset: int | None = None) -> Record:
    """Parses what `pack` or MXNet wrote.

    Args:
      data: the payload of one RecordIO record.
      path: where it came from, for the error message.
      key: its key, for the error message.
      offset: its byte offset in the file, for the error message.

    Returns:
      The record; `payload` may be empty.

    Raises:
      RecordError: `data` ends before its header or its labels do, or says that it has more than `MAX_LABELS`.
    """
    if len(data) < _HEADER.size:
        raise record_error(path, key, offset, f"an image record header of {_HEADER.size} bytes", f"{len(data)} bytes")
    flag, label, identifier, id2 = _HEADER.unpack_from(data)
    if not flag:
        return Record((label,), identifier, id2, data[_HEADER.size :])
    if flag > MAX_LABELS:
        raise record_error(path, key, offset, f"at most {MAX_LABELS:,} labels", f"{flag:,}")
    end = _HEADER.size + 4 * flag
    if len(data) < end:
        raise record_error(path, key, offset, f"{flag} labels in {end} bytes", f"{len(data)} bytes")
    return Record(_floats(data[_HEADER.size : end]), identifier, id2, data[end:], vector=True)


def _floats(data: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(data) // 4}f", data)


class RecordReader:
    """Reads records by byte offset or one after the other. Not safe for several threads at once (it seeks).

    Args:
      file: path, or an open binary file that can `read` and `seek` (it is then not closed here).

    Attributes:
      end: byte offset behind the record that `read_at` or `read` gave last, padding included.
    """

    def __init__(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        self.end = 0
        self._owned = isinstance(file, str | os.PathLike)
        self._file: BinaryIO = open_read(os.fspath(file)) if isinstance(file, str | os.PathLike) else file
        self.path = os.fspath(file) if isinstance(file, str | os.PathLike) else str(getattr(file, "name", "stream"))

    def read_at(self, offset: int, *, key: int | None = None) -> bytes:
        """The payload of the record that starts at `offset`, its parts joined.

        Args:
          offset: byte offset in the file, a multiple of 4.
          key: the record's key, for the error message.

        Returns:
          The payload, without padding.

        Raises:
          RecordError: no record starts there, the file ends within it, or its parts have 2**29 bytes together.
        """
        self._file.seek(int(offset))
        payload, size = self._read_record(int(offset), key)
        self.end = int(offset) + size
        return payload

    def read(self, offset: int, *, key: int | None = None) -> Record:
        """`read_at`, parsed by `unpack`."""
        return unpack(self.read_at(offset, key=key), path=self.path, key=key, offset=offset)

    def scan(self) -> Iterator[tuple[int, bytes]]:
        """All records in file order.

        Yields:
          Byte offset and payload.

        Raises:
          RecordError: the bytes at the current position are no record, or the file ends within one.
        """
        offset = 0
        while True:
            self._file.seek(offset)
            if not self._file.read(1):
                return
            self._file.seek(offset)
            payload, size = self._read_record(offset, None)
            yield offset, payload
            offset += size

    def _read_record(self, start: int, key: int | None) -> tuple[bytes, int]:
        """Payload and size in the file, padding included, of the record at the file's current position."""
        parts: list[bytes] = []
        offset = start
        joined = -len(MAGIC)
        while True:
            prefix = self._file.read(_PREFIX.size)
            if len(prefix) < _PREFIX.size or prefix[:4] != MAGIC:
                expected = f"a record: {_PREFIX.size} bytes that begin with {MAGIC.hex(' ')}"
                raise record_error(self.path, key, offset, expected, f"{prefix.hex(' ') or 'the end of the file'}")
            cflag, length = prefix[7] >> 5, _PREFIX.unpack(prefix)[1] & (MAX_RECORD_BYTES - 1)
            allowed = (_MIDDLE, _LAST) if parts else (_WHOLE, _FIRST)
            if cflag not in allowed:
                expected = f"cflag {allowed[0]} or {allowed[1]} ({'a further' if parts else 'the first'} part)"
                raise record_error(self.path, key, offset, expected, f"cflag {cflag}")
            joined += len(MAGIC) + length
            if joined >= MAX_RECORD_BYTES:
                raise record_error(self.path, key, start, "a record of fewer than 2**29 bytes", f"{joined} so far")
            padded = -(-length // 4) * 4
            data = self._file.read(padded)
            if len(data) < padded:
                raise record_error(self.path, key, offset, f"{padded} bytes of payload", f"{len(data)} bytes")
            parts.append(data[:length])
            offset += _PREFIX.size + padded
            if cflag in (_WHOLE, _LAST):
                return MAGIC.join(parts), offset - start

    def close(self) -> None:
        """Closes the file if this reader opened it."""
        if self._owned:
            self._file.close()

    def __enter__(self) -> Self:
        """Returns the reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the reader."""
        self.close()


class RecordWriter:
    """Appends records to a new `.rec` file, byte for byte as MXNet writes them.

    Args:
      file: path (an existing file is replaced), or a binary file open for writing (not closed here).
    """

    def __init__(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        self._owned = isinstance(file, str | os.PathLike)
        self._file: BinaryIO = open(file, "wb") if isinstance(file, str | os.PathLike) else file
        self.path = os.fspath(file) if isinstance(file, str | os.PathLike) else str(getattr(file, "name", "stream"))
        self._offset = 0

    def append(self, payload: bytes) -> int:
        """Writes one record.

        Args:
          payload: fewer than 2**29 bytes, as `pack` made them.

        Returns:
          The record's byte offset, for the index.

        Raises:
          RecordError: the payload is too long.
        """
        start = self._offset
        if len(payload) >= MAX_RECORD_BYTES:
            raise record_error(self.path, None, start, "a record of fewer than 2**29 bytes", f"{len(payload)} bytes")
        begin = 0
        hit = payload.find(MAGIC)
        while hit >= 0:
            if hit % 4:
                hit = payload.find(MAGIC, hit + 1)
                continue
            self._write_part(_MIDDLE if begin else _FIRST, payload[begin:hit])
            begin = hit + 4
            hit = payload.find(MAGIC, begin)
        self._write_part(_LAST if begin else _WHOLE, payload[begin:])
        return start

    def _write_part(self, cflag: int, part: bytes) -> None:
        padding = bytes(-len(part) % 4)
        self._file.write(MAGIC + struct.pack("<I", cflag << 29 | len(part)) + part + padding)
        self._offset += _PREFIX.size + len(part) + len(padding)

    def close(self) -> None:
        """Flushes, and closes the file if this writer opened it."""
        self._file.flush()
        if self._owned:
            self._file.close()

    def __enter__(self) -> Self:
        """Returns the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the writer."""
        self.close()
