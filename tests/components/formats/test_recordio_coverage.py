"""An index that lacks images of its `.rec`: cut at an end it is refused, and what it lacks between is said."""

from pathlib import Path

import numpy as np
import pytest

from components.formats.recordio import (
    Record,
    RecordError,
    RecordReader,
    RecordWriter,
    pack,
    read_dataset,
    read_whole_index,
    unnamed_bytes,
    write_index,
)
from tests.components.formats.records_in_memory import face_records


def written(folder: Path, lines: list[int] | None = None, *, header: bool = False, behind: bytes = b"") -> list[int]:
    """12 images of im2rec's form, or InsightFace's, with the index lines at these places; all offsets."""
    records = face_records([3, 4, 5], header=header)
    with RecordWriter(folder / "train.rec") as writer:
        offsets = [writer.append(data) for _, data in records]
    with open(folder / "train.rec", "ab") as file:
        file.write(behind)
    places = range(len(records)) if lines is None else lines
    write_index(str(folder / "train.idx"), [records[x][0] for x in places], [offsets[x] for x in places])
    return offsets


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("behind", [b"", bytes(4096), b"no record"])
def test_a_whole_index_is_read_in_any_order_and_whatever_lies_behind_that_is_no_record(tmp_path, header, behind):
    offsets = written(tmp_path, header=header, behind=behind)
    assert read_dataset(str(tmp_path)).num_images == 12
    order = np.random.default_rng(1).permutation(len(offsets)).tolist()
    written(tmp_path, order, header=header, behind=behind)
    assert read_dataset(str(tmp_path)).num_images == 12


@pytest.mark.parametrize("lines", [1, 6, 11])
def test_an_index_that_was_cut_is_refused(tmp_path, lines):
    offsets = written(tmp_path, list(range(lines)))
    size = (tmp_path / "train.rec").stat().st_size
    message = (
        rf"train\.idx, key {lines}, byte offset {offsets[lines - 1]}: expected a line for each record .*--write-index.*"
        rf"Received: {lines} lines, and none for the last {size - offsets[lines]} of {size} bytes"
    )
    with pytest.raises(RecordError, match=message):
        read_dataset(str(tmp_path))


def test_an_index_that_was_cut_within_its_last_line_is_refused(tmp_path):
    written(tmp_path)
    whole = (tmp_path / "train.idx").read_bytes()
    for size in range(len(whole) - 3, len(whole) - 1):
        (tmp_path / "train.idx").write_bytes(whole[:size])
        with pytest.raises(RecordError, match=r"train\.idx"):
            read_dataset(str(tmp_path))


def test_an_index_without_its_first_lines_is_refused(tmp_path):
    offsets = written(tmp_path, list(range(4, 12)))
    with pytest.raises(RecordError, match=rf"key 5, byte offset {offsets[4]}: expected the first record .* to have"):
        read_dataset(str(tmp_path))


def test_header_and_identity_records_need_no_line(tmp_path):
    written(tmp_path, list(range(1, 13)), header=True)
    assert read_dataset(str(tmp_path)).num_images == 12


def test_an_image_without_a_line_between_others_is_found(tmp_path):
    offsets = written(tmp_path, [0, 1, 4, 5, 6, 7, 8, 9, 10, 11])
    with RecordReader(str(tmp_path / "train.rec")) as reader:
        index = read_whole_index(reader, str(tmp_path / "train.idx"))
        found = {}
        for key, offset, following in zip(index.keys, index.offsets, [*index.offsets[1:], 0], strict=True):
            reader.read(offset)
            if lost := unnamed_bytes(reader, int(following)):
                found[int(key)] = lost
    assert found == {2: offsets[4] - offsets[2]}
    assert index.offsets[2] == offsets[4]


def test_records_with_a_vector_of_labels_are_images(tmp_path):
    """arcface_torch takes the first label of a vector; InsightFace's later sets have such records."""
    with RecordWriter(tmp_path / "train.rec") as writer:
        offsets = [writer.append(pack(Record((5.0, 0.0), key, 0, b"jpeg"))) for key in range(4)]
    write_index(str(tmp_path / "train.idx"), range(2), offsets[:2])
    with pytest.raises(RecordError, match="2 lines, and none for the last"):
        read_dataset(str(tmp_path))
