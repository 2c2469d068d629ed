"""The `.idx` beside a `.rec`: which key lies at which byte offset."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from arcface_common.filesystem import open_read
from components.formats.recordio.records import MAX_RECORD_BYTES, RecordReader, record_error, unpack

_WRAPS_AT = 2**32  # bytes, where an unsigned number of 32 bits begins again at 0; a signed one turns negative at half
MEND = "remove the file, and `arcface-tfx inspect --write-index` makes a new one"
_LONGEST_LINE = 1 << 12  # bytes; two numbers take 40
_BLOCK_BYTES = 1 << 24  # parsed at a time: the 105 MB of 5.8 M lines never lie in memory at once


@dataclasses.dataclass(frozen=True)
class Index:
    """An `.idx` file: which key lies at which byte offset of the `.rec`, in the file's own order.

    Attributes:
      keys: int64 [N], distinct.
      offsets: int64 [N], bytes.
      path: where it was read, for error messages.
    """

    keys: np.ndarray
    offsets: np.ndarray
    path: str = "index"

    def __len__(self) -> int:
        """How many records the index names."""
        return len(self.keys)

    def sorted_by_key(self) -> "Index":
        """The same index with ascending keys (itself, if they ascend already)."""
        if np.all(self.keys[1:] > self.keys[:-1]):
            return self
        order = np.argsort(self.keys, kind="stable")
        return Index(self.keys[order], self.offsets[order], self.path)


def read_index(path: str, *, rec_bytes: int = 0) -> Index:
    """Reads an `.idx`: lines "key TAB byte offset", keys distinct and in any order (5.8 M lines: about 1 s).

    Args:
      path: the `.idx` file.
      rec_bytes: size of the `.rec`, to see offsets that were written as numbers of 32 bits; 0 doesn't look.

    Returns:
      The index in the file's order.

    Raises:
      RecordError: a line is not two non-negative integers, or a key occurs twice; the message names the line. Or the
        offsets overflowed when they were written; it says what mends that.
    """
    blocks: list[np.ndarray] = []
    rows = 0
    with open_read(path) as file:
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            complete, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                blocks.append(_parse_lines(complete + newline, path, rows))
                rows += len(blocks[-1])
            if len(rest) > _LONGEST_LINE:
                expected = f'"key TAB byte offset" in line {rows + 1}'
                raise record_error(path, None, None, expected, f"{rest[:40]!r} .., more than {_LONGEST_LINE:,} bytes")
        if rest.strip():
            blocks.append(_parse_lines(rest + b"\n", path, rows))
    table = np.concatenate(blocks) if blocks else np.empty((0, 2), np.int64)
    index = Index(np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1]), path)
    _check_distinct(index)
    _check_not_wrapped(index, rec_bytes)
    return index


def _parse_lines(block: bytes, path: str, rows_before: int) -> np.ndarray:
    """Whole lines -> int64 [lines, 2]: parsed at once, or line by line where that cannot be right."""
    characters = np.frombuffer(block, np.uint8)
    separators = characters[(characters < ord("0")) | (characters > ord("9"))]
    if len(separators) % 2 == 0 and np.all(separators[0::2] == ord("\t")) and np.all(separators[1::2] == ord("\n")):
        values = np.fromstring(block.decode("ascii"), np.int64, sep=" ")
        if len(values) == len(separators) and np.all(values < np.iinfo(np.int64).max):  # an overflow saturates
            return values.reshape(-1, 2)
    rows = []
    for number, line in enumerate(block.splitlines(), rows_before + 1):
        fields = line.split()
        if len(fields) == 2 and fields[0].isdigit() and fields[1][:1] == b"-" and fields[1][1:].isdigit():
            expected = f"a byte offset in line {number}, not one that overflowed beyond 2 GiB ({MEND})"
            raise record_error(path, int(fields[0]), None, expected, fields[1][:30].decode())
        if len(fields) != 2 or not all(x.isdigit() and len(x) < 20 and int(x) < 2**63 for x in fields):
            raise record_error(path, None, None, f'"key TAB byte offset" in line {number}', repr(line[:80]))
        rows.append([int(x) for x in fields])
    return np.array(rows, np.int64).reshape(-1, 2)


def _check_distinct(index: Index) -> None:
    if np.all(index.keys[1:] > index.keys[:-1]):
        return
    order = np.argsort(index.keys, kind="stable")
    keys = index.keys[order]
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        first, second = order[twice[0]] + 1, order[twice[0] + 1] + 1
        raise record_error(index.path, int(keys[twice[0]]), None, "every key once", f"it in lines {first} and {second}")


def _check_not_wrapped(index: Index, rec_bytes: int) -> None:
    """A wrapped index names nothing of the file's last part, though a record takes less than 0.5 GiB, and goes back."""
    if rec_bytes <= _WRAPS_AT or not len(index):
        return
    last = int(index.offsets.max())
    ordered = index.sorted_by_key().offsets
    if last < _WRAPS_AT and rec_bytes - last > 2 * MAX_RECORD_BYTES and np.any(ordered[1:] < ordered[:-1]):
        expected = f"byte offsets up to the end of the .rec, {rec_bytes:,} bytes ({MEND})"
        raise record_error(index.path, None, None, expected, f"none beyond {last:,}: they overflowed at 4 GiB")


def write_index(path: str, keys: Sequence[int] | np.ndarray, offsets: Sequence[int] | np.ndarray) -> None:
    """Writes an `.idx` byte for byte as MXNet does, in the given order.

    Args:
      path: the `.idx` file, replaced if it exists.
      keys: integers [N].
      offsets: byte offsets [N].

    Raises:
      RecordError: the lengths differ.
    """
    if len(keys) != len(offsets):
        raise record_error(str(path), None, None, "as many keys as offsets", f"{len(keys)} and {len(offsets)}")
    with open(path, "w", encoding="ascii", newline="\n") as file:
        for begin in range(0, len(keys), 1 << 16):
            rows = zip(keys[begin : begin + (1 << 16)], offsets[begin : begin + (1 << 16)], strict=True)
            file.write("".join(f"{key}\t{offset}\n" for key, offset in rows))


def rebuild_index(reader: RecordReader, *, path: str = "rebuilt index") -> Index:
    """The index of a `.rec` whose `.idx` is missing, by one sequential scan.

    Args:
      reader: the `.rec` file; all of it is read once.
      path: name of the index in error messages.

    Returns:
      The records' ids as keys, which is what InsightFace and im2rec put there; where ids repeat, the positions
      0 .. N - 1, which is what MXNet's rec2idx gives. In the order of the file.

    Raises:
      RecordError: the file is damaged, or a record has no image record header.
    """
    offsets, ids = [], []
    for offset, payload in reader.scan():
        offsets.append(offset)
        ids.append(unpack(payload, path=reader.path, offset=offset).id)
    if len(set(ids)) < len(ids) or max(ids, default=0) >= 2**63:
        ids = list(range(len(ids)))
    return Index(np.array(ids, np.int64), np.array(offsets, np.int64), path)
