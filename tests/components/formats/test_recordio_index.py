"""RecordIO's index: what is read, and what is refused."""

import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.formats.recordio import (
    Index,
    RecordError,
    read_index,
    read_layout,
    write_index,
)
from components.formats.recordio import index as index_module
from tests.components.formats.records_in_memory import opened


def test_a_line_without_an_end_is_refused_at_once(tmp_path: Path) -> None:
    """4 GB without a newline, of which no more than a block is read."""
    path = tmp_path / "train.idx"
    path.write_bytes(b"0\t0\n1\t40")
    os.truncate(path, 4 << 30)
    with pytest.raises(RecordError, match=r'"key TAB byte offset" in line 2. Received: .*more than 4,096 bytes'):
        read_index(str(path))


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
