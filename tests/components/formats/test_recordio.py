import io
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
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
    read_index,
    read_layout,
    rebuild_index,
    unpack,
    write_index,
)
from components.formats.recordio import index as index_module
from components.formats.recordio import layout as layout_module
from components.formats.recordio import records as records_module
from components.formats.recordio.records import MAX_LABELS
from tests.helpers import ROOT

# The magic at aligned and other positions, whole and cut short, among other bytes.
payloads = st.lists(st.sampled_from([MAGIC, MAGIC[:3], MAGIC[1:], b"\0", b"abcd", b""]) | st.binary(max_size=9)).map(
    b"".join
)
floats32 = st.floats(width=32, allow_nan=False)


def written(contents: list[bytes]) -> tuple[io.BytesIO, list[int]]:
    file = io.BytesIO()
    with RecordWriter(file) as writer:
        offsets = [writer.append(x) for x in contents]
    return file, offsets


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


def test_a_line_without_an_end_is_refused_at_once(tmp_path: Path) -> None:
    """4 GB without a newline, of which no more than a block is read."""
    path = tmp_path / "train.idx"
    path.write_bytes(b"0\t0\n1\t40")
    os.truncate(path, 4 << 30)
    with pytest.raises(RecordError, match=r'"key TAB byte offset" in line 2. Received: .*more than 4,096 bytes'):
        read_index(str(path))


@pytest.mark.parametrize("size", [0, 23, 24, 27])
def test_a_header_cut_short_is_named(size: int) -> None:
    packed = pack(Record((1.0, 2.0), 5, 0, b""))
    with pytest.raises(RecordError, match=f"a.rec, key 5, byte offset 40: expected .*Received: {size} bytes"):
        unpack(packed[:size], path="a.rec", key=5, offset=40)


def read_index_text(text: str, **more: int) -> Index:
    """The index that a file `a.idx` of this text is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.idx")
        path.write_text(text)
        return read_index(str(path), **more)


@given(st.dictionaries(st.integers(0, 2**62), st.integers(0, 2**62)), st.integers(0, 9), st.sampled_from([8, 64, 4096]))
def test_an_index_survives_in_its_order(table: dict[int, int], seed: int, block: int) -> None:
    keys = list(table)
    random.Random(seed).shuffle(keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "_BLOCK_BYTES", block)
        index = read_index_text("".join(f"{key}\t{table[key]}\n" for key in keys))
    assert index.keys.tolist() == keys
    assert index.offsets.tolist() == [table[x] for x in keys]
    assert index.sorted_by_key().keys.tolist() == sorted(keys)


def test_an_index_is_written_as_it_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "a.idx")
    write_index(path, [3, 1, 2], np.array([0, 40, 80]))
    assert Path(path).read_bytes() == b"3\t0\n1\t40\n2\t80\n"
    assert read_index(path).keys.tolist() == [3, 1, 2]
    with pytest.raises(RecordError, match="as many keys as offsets. Received: 2 and 1"):
        write_index(path, [1, 2], [3])


@pytest.mark.parametrize("text", ["1\t2\r\n3\t4\r\n", "1 2\n3 4", "1\t2\n3\t4", "1\t2\n 3\t4 \n"])
def test_other_white_space_is_read_too(text: str) -> None:
    assert read_index_text(text).offsets.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\t2\n3\n", "line 2. Received: b'3'"),
        ("1\t2\n\n3\t4\n", "line 2. Received: b''"),
        ("1\t2\n3\t-4\n", "line 2"),
        ("1\t2\n3.0\t4\n", "line 2"),
        ("1\t2\t3\n4\n", "line 1"),
        (f"1\t{2**63}\n", "line 1"),
        ("5\t0\n6\t4\n5\t8\n", "a.idx, key 5: expected every key once. Received: it in lines 1 and 3"),
    ],
)
def test_a_bad_index_line_is_named(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        read_index_text(text)


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


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 9))
def test_the_layout_in_any_order(counts: list[int], seed: int) -> None:
    records = face_records(counts)
    random.Random(seed).shuffle(records)
    reader, index = opened(records)
    layout = read_layout(reader, index)
    assert layout.image_keys.tolist() == list(range(1, sum(counts) + 1))
    assert layout.num_identities == len(counts) == len(layout.identity_keys)
    assert (layout.identity_ranges[:, 1] - layout.identity_ranges[:, 0] + 1).tolist() == counts
    for key, offset in zip(layout.image_keys, layout.image_offsets, strict=True):
        record = reader.read(offset, key=key)
        first, last = layout.identity_ranges[int(record.label)]
        assert record.payload == b"jpeg" and first <= key == record.id <= last
    rebuilt = rebuild_index(reader)
    assert (rebuilt.keys.tolist(), rebuilt.offsets.tolist()) == (index.keys.tolist(), index.offsets.tolist())


def test_without_a_header_record_every_key_is_an_image() -> None:
    layout = read_layout(*opened(face_records([2, 3], header=False)))
    assert (layout.num_images, layout.num_identities, len(layout.identity_keys)) == (5, None, 0)


def test_an_image_with_a_label_vector_at_key_0_is_no_header() -> None:
    records = [(key, pack(Record((float(key), 1.0), key, 0, b"jpeg"))) for key in range(3)]
    assert read_layout(*opened(records)).image_keys.tolist() == [0, 1, 2]


def test_repeated_ids_are_rebuilt_as_positions() -> None:
    reader, index = opened([(key, pack(Record((1.0,), 0, 0, b"jpeg"))) for key in range(3)])
    assert rebuild_index(reader).keys.tolist() == [0, 1, 2]
    assert rebuild_index(reader).offsets.tolist() == index.offsets.tolist()


def test_keys_beyond_float32_are_found_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Glint360K's header rounds: here float32 is taken to step by 4 above 4, and the header to say so."""
    monkeypatch.setattr(layout_module, "FLOAT32_EXACT", 4)
    monkeypatch.setattr(np, "spacing", lambda _: 4)
    records = face_records([3, 4, 3, 3])
    records[0] = (0, pack(Record((12.0, 20.0), 0, 0, b"")))  # instead of 14 and 18
    layout = read_layout(*opened(records))
    assert (layout.num_images, layout.identity_keys.tolist()) == (13, [14, 15, 16, 17])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: Record((1.0, 2.0), 0, 0, b"")}, "key 0, byte offset 0: expected labels .*Received: labels"),
        ({0: Record((9.5, 11.0), 0, 0, b"")}, "key 0, byte offset 0: expected labels"),
        ({0: Record((5.0, 99.0), 0, 0, b"")}, "a.idx, key 7: expected all of the keys 5 .. 98 .*no such identity"),
        ({5: None}, "a.idx, key 5: expected all of the keys 5 .. 6 .*no such identity record"),
        (dict.fromkeys(range(1, 5)), "a.idx, key 1: expected all of .* and images before, .* no such image"),
        ({6: Record((3.0, 9.0), 6, 0, b"")}, "key 6, byte offset .*: expected .*within 1 .. 5"),
        ({6: Record((3.0,), 6, 0, b"")}, "key 6"),
        ({6: Record((3.0, float("nan")), 6, 0, b"")}, "key 6"),
    ],
)
def test_a_layout_that_cannot_be_is_named(change: dict[int, Record | None], message: str) -> None:
    records = [(key, pack(new) if (new := change.get(key)) else data) for key, data in face_records([2, 2])]
    with pytest.raises(RecordError, match=message):
        read_layout(*opened([x for x in records if change.get(x[0], True)]))


def test_images_that_were_skipped_are_left_out_and_said() -> None:
    records = face_records([3, 3, 3])
    layout = read_layout(*opened([x for x in records if x[0] not in (2, 5, 6, 7)] + [(40, records[1][1])]))
    assert layout.image_keys.tolist() == [1, 3, 4, 8, 9]
    assert layout.identity_ranges.tolist() == [[1, 3], [4, 6], [7, 9]]
    assert layout.remarks == (
        "4 image keys that the header record announces, missing: 2, 5, 6, ...",
        "1 record behind the last identity record, left out: 40",
    )
    assert read_layout(*opened(records)).remarks == ()


def test_an_index_that_overflowed_is_said_with_what_mends_it(tmp_path: Path) -> None:
    with pytest.raises(
        RecordError, match=r"a.idx, key 1: expected .* beyond 2 GiB \(remove the file, .*Received: -2147"
    ):
        read_index_text("0\t0\n1\t-2147480000\n")
    whole = "".join(f"{key}\t{key << 29}\n" for key in range(12))
    wrapped = "".join(f"{key}\t{(key << 29) % 2**32}\n" for key in range(12))
    size = 12 << 29

    def read(text: str) -> Index:
        return read_index_text(text, rec_bytes=size)

    assert len(read(whole)) == 12
    assert len(read("".join(whole.splitlines(keepends=True)[:4]))) == 4  # not all of the file, but in its order
    with pytest.raises(
        RecordError, match=r"a.idx: expected .* 6,442,450,944 bytes \(remove .*Received: none beyond 3,75"
    ):
        read(wrapped)


@pytest.mark.parametrize("text", ["9" * 5000, "1" * 20])
def test_a_number_that_no_file_can_hold_is_named(text: str) -> None:
    with pytest.raises(RecordError, match=r'a.idx: expected "key TAB byte offset" in line 2. Received: '):
        read_index_text(f"0\t0\n1\t{text}\n")


def test_an_empty_index_is_refused() -> None:
    with pytest.raises(RecordError, match="at least one record"):
        read_layout(*opened([]))


def test_paths_and_open_files(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        writer.append(b"data")
    for file in (path, str(path), io.BytesIO(path.read_bytes())):
        with RecordReader(file) as reader:
            assert reader.read_at(0) == b"data"
