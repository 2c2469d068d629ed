"""None"""

import io
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.formats.recordio import (
    MAGIC,
    Index,
    Record,
    RecordError,
    RecordReader,
    RecordWriter,
    pack,
    read_layout,
    unpack,
)
from components.formats.recordio import records as records_module
from components.formats.recordio.records import MAX_LABELS
from tests.components.formats.records_in_memory import face_records, written
from tests.helpers import ROOT

# The magic at aligned and other positions, whole and cut short, among other bytes.
payloads = st.lists(st.sampled_from([MAGIC, MAGIC[:3], MAGIC[1:], b"\0", b"abcd", b""]) | st.binary(max_size=9)).map(
    b"".join
)


floats32 = st.floats(width=32, allow_nan=False)


@given(st.lists(payloads, max_size=5))
def test_what_is_written_is_read(contents: list[bytes]) -> None:
    file, offsets = written(contents)
    reader = RecordReader(file)
    assert list(reader.scan()) == list(zip(offsets, contents, strict=True))
    assert [reader.read_at(x) for x in reversed(offsets)] == contents[::-1]


@given(payloads)
def test_the_magic_never_lies_aligned_inside_a_part(content: bytes) -> None:
    data = written([content])[0].getvalue()
    position = 0
    while position < len(data):
        assert data[position : position + 4] == MAGIC
        length = struct.unpack_from("<I", data, position + 4)[0] & (2**29 - 1)
        part = data[position + 8 : position + 8 + length]
        assert all(part[i : i + 4] != MAGIC for i in range(0, len(part), 4))
        position += 8 + -(-length // 4) * 4


def test_bytes_of_a_record_cut_at_the_magic() -> None:
    data = written([b"ab" + MAGIC + b"cd" + MAGIC + b"x"])[0].getvalue()
    first = MAGIC + struct.pack("<I", 1 << 29 | 8) + b"ab" + MAGIC + b"cd"
    assert data == first + MAGIC + struct.pack("<I", 3 << 29 | 1) + b"x\0\0\0"


@given(
    labels=st.lists(floats32, min_size=1, max_size=4),
    ids=st.tuples(*[st.integers(0, 2**64 - 1)] * 2),
    payload=payloads,
    vector=st.booleans(),
)
def test_records_survive_packing(labels: list[float], ids: tuple[int, int], payload: bytes, vector: bool) -> None:
    record = Record(tuple(labels), *ids, payload, vector or len(labels) > 1)
    if any(x.is_integer() and abs(x) > 2**24 for x in labels):
        assert all(np.float32(x) == x for x in labels)
    assert unpack(pack(record)) == record


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (Record((), 0, 0, b""), "1 to 65,536 labels"),
        (Record((2**24 + 1,), 0, 0, b""), "integers that float32 holds"),
        (Record((1e39,), 0, 0, b""), "float32"),
        (Record((1.0,), 2**64, 0, b""), "2\\*\\*64"),
        (Record((1.0,), 0, -1, b""), "2\\*\\*64"),
    ],
)
def test_what_the_header_cannot_hold_is_refused(record: Record, expected: str) -> None:
    with pytest.raises(RecordError, match=f"expected .*{expected}.*Received: "):
        pack(record)


def test_a_record_of_2_to_29_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "MAX_RECORD_BYTES", 64)
    writer = RecordWriter(io.BytesIO())
    assert writer.append(bytes(63)) == 0
    with pytest.raises(RecordError, match=r"byte offset 72: expected .*2\*\*29 bytes. Received: 64 bytes"):
        writer.append(bytes(64))


def damaged(position: int, replacement: bytes) -> bytes:
    data = written([b"first", b"ab" + MAGIC + MAGIC + b"x"])[0].getvalue()
    return data[:position] + replacement + data[position + len(replacement) :]


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (damaged(0, b"\1"), 0, "begin with 0a 23 d7 ce. Received: 01 23 d7 ce"),
        (damaged(0, b"")[:3], 0, "expected a record: 8 bytes .* Received: 0a 23 d7$"),
        (damaged(0, b"")[:12], 0, "expected 8 bytes of payload. Received: 4 bytes"),
        (damaged(0, b""), 4, "key 7, byte offset 4: expected a record"),
        (damaged(0, b""), 4096, "Received: the end of the file"),
        (damaged(7, b"\x40"), 0, r"expected cflag 0 or 1 \(the first part\). Received: cflag 2"),
        (damaged(7, b"\x20"), 0, "byte offset 16: expected cflag 2 or 3 .*Received: cflag [01]"),
    ],
)
def test_damage_is_named(data: bytes, offset: int, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        RecordReader(io.BytesIO(data)).read_at(offset, key=7)


def test_a_scan_ends_in_an_error_where_the_file_is_cut() -> None:
    data = written([b"one", b"two"])[0].getvalue()
    scan = RecordReader(io.BytesIO(data[:-1])).scan()
    assert next(scan) == (0, b"one")
    with pytest.raises(RecordError, match="byte offset 12"):
        next(scan)


SPARSE_RECORDS = {  # 1.5 and 10 GB that take no disk
    "labels": (
        [(0, 0, struct.pack("<IfQQ", 2**27 - 8, 0.0, 0, 0))],
        2**29 - 4,
        "key 7, byte offset 0: expected at most 65,536 labels. Received: 134,217,720",
    ),
    "parts": (
        [(part, 1 if part == 0 else 2, b"") for part in range(20)],
        2**29 - 4,
        r"key 7, byte offset 0: expected a record of fewer than 2\*\*29 bytes. Received: \d+ so far",
    ),
}


@pytest.mark.parametrize(("parts", "size", "message"), SPARSE_RECORDS.values(), ids=SPARSE_RECORDS.keys())
def test_a_record_says_too_much(parts: list[tuple[int, int, bytes]], size: int, message: str, tmp_path: Path) -> None:
    """In a process that may have 1.2 GB more than it has."""
    with open(tmp_path / "train.rec", "wb") as file:
        for place, cflag, begin in parts:
            file.seek(place * (size + 8))
            file.write(MAGIC + struct.pack("<I", cflag << 29 | size) + begin)
        file.truncate(len(parts) * (size + 8))
    code = (
        "import resource, sys; from components.formats.recordio import RecordReader, RecordError\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 1_300_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "try: RecordReader(sys.argv[1]).read(0, key=7)\n"
        "except RecordError as error: print(error)"
    )
    command = [sys.executable, "-c", code, tmp_path / "train.rec"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert re.search(message, result.stdout), result.stderr[-300:]


def test_what_is_written_has_no_more_labels_than_is_read() -> None:
    most = Record((1.0,) * MAX_LABELS, 0, 0, b"")
    assert unpack(pack(most)) == most._replace(vector=True)
    with pytest.raises(RecordError, match="expected 1 to 65,536 labels. Received: 65,537 labels"):
        pack(most._replace(labels=(1.0,) * (MAX_LABELS + 1)))


def test_many_labels_of_a_header_are_not_printed() -> None:
    records = face_records([1])
    records[0] = (0, pack(Record((1.0,) * 1000, 0, 0, b"")))
    file, offsets = written([packed for _, packed in records])
    index = Index(np.array([key for key, _ in records]), np.array(offsets))
    with pytest.raises(RecordError, match=r"key 0, .*Received: 1,000 labels$"):
        read_layout(RecordReader(file), index)


@pytest.mark.parametrize("size", [0, 23, 24, 27])
def test_a_header_cut_short_is_named(size: int) -> None:
    packed = pack(Record((1.0, 2.0), 5, 0, b""))
    with pytest.raises(RecordError, match=f"a.rec, key 5, byte offset 40: expected .*Received: {size} bytes"):
        unpack(packed[:size], path="a.rec", key=5, offset=40)


def test_paths_and_open_files(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        writer.append(b"data")
    for file in (path, str(path), io.BytesIO(path.read_bytes())):
        with RecordReader(file) as reader:
            assert reader.read_at(0) == b"data"
