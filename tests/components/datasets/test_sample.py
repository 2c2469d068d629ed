"""A small part of a data set: which images and pairs it has, and what is said of the whole."""

import collections

import pytest

from arcface_common.errors import DataError
from components.datasets import sample
from components.datasets.sample import RecordCounts, sample_records, sample_set
from components.formats import recordio, verification_bin
from tests.helpers import jpeg, write_records

FACE = jpeg(0)


def _write(folder, identities):
    """A data set of identities with so many images each, told apart by a number behind the JPEG's end."""
    folder.mkdir()
    numbers = iter(range(100_000))
    recordio.write_layout(folder, [[FACE + bytes(str(next(numbers)), "ascii") for _ in range(n)] for n in identities])


def _sampled(folder, target, **more):
    """The counts of the whole, and key -> label and image of the sample's records."""
    target.mkdir()
    whole = sample_records(str(folder), target, **more)
    layout = recordio.read_dataset(str(target))
    with recordio.RecordReader(target / "train.rec") as reader:
        entries = zip(layout.image_keys.tolist(), layout.image_offsets.tolist(), strict=True)
        records = {key: recordio.unpack(reader.read_at(offset)) for key, offset in entries}
    return whole, {key: (int(record.label), record.payload) for key, record in records.items()}


def test_the_largest_identities_give_ten_images_each(tmp_path):
    _write(tmp_path / "data", [3, 30, 2, *[12] * 45])
    whole, records = _sampled(tmp_path / "data", tmp_path / "sample")
    assert whole == RecordCounts(3 + 30 + 2 + 540, 48)
    by_label = collections.Counter(label for label, _ in records.values())
    assert set(by_label.values()) == {10}
    assert len(by_label) == 40
    assert {0, 2} & by_label.keys() == set()
    assert 1 in by_label
    assert min(records) == 4  # identity 1's first: 3 images come before, and key 0 is the header
    with recordio.RecordReader(tmp_path / "data" / "train.rec") as reader:
        index = recordio.read_index(str(tmp_path / "data" / "train.idx"))
        offsets = dict(zip(index.keys.tolist(), index.offsets.tolist(), strict=True))
        for key in (min(records), max(records)):
            assert records[key][1] == recordio.unpack(reader.read_at(offsets[key])).payload


def test_a_small_data_set_is_copied_whole(tmp_path):
    _write(tmp_path / "data", [3, 4])
    whole, records = _sampled(tmp_path / "data", tmp_path / "sample")
    assert whole == RecordCounts(7, 2)
    assert sorted(label for label, _ in records.values()) == [0] * 3 + [1] * 4


def test_small_identities_do_not_count_where_they_are_left_out(tmp_path):
    _write(tmp_path / "data", [3, 14, 20])
    whole, records = _sampled(tmp_path / "data", tmp_path / "sample", least=12)
    assert whole == RecordCounts(34, 2)
    by_label = collections.Counter(label for label, _ in records.values())
    assert (by_label[1], by_label[2]) == (12, 12)  # as many as an identity must have


def test_without_a_header_the_labels_count(tmp_path):
    write_records(tmp_path / "data", [5, 9, 5, 9, 9])
    with recordio.RecordReader(tmp_path / "data" / "train.rec") as reader:
        images = [payload for _, payload in reader.scan()][1:6]
    with recordio.RecordWriter(tmp_path / "data" / "train.rec") as writer:
        offsets = [writer.append(image) for image in images]
    recordio.write_index(str(tmp_path / "data" / "train.idx"), range(5), offsets)
    whole, records = _sampled(tmp_path / "data", tmp_path / "sample")
    assert whole == RecordCounts(5, 2)
    assert [records[key][0] for key in range(5)] == [5, 9, 5, 9, 9]


def test_of_a_large_data_set_the_first_records_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_LOOKED_AT", 10)
    _write(tmp_path / "data", [4, 5, 6, 7])
    whole, records = _sampled(tmp_path / "data", tmp_path / "sample")
    assert whole == RecordCounts(22, 4)
    assert sorted(records) == list(range(1, 11))


def test_a_broken_record_is_named(tmp_path):
    _write(tmp_path / "data", [3, 4])
    rec = tmp_path / "data" / "train.rec"
    offset = int(recordio.read_dataset(str(tmp_path / "data")).image_offsets[2])
    content = bytearray(rec.read_bytes())
    content[offset + 4 : offset + 8] = b"\xff\xff\xff\xff"
    rec.write_bytes(content)
    (tmp_path / "sample").mkdir()
    with pytest.raises(DataError, match=r"train.rec.*key 3"):
        sample_records(str(tmp_path / "data"), tmp_path / "sample")


@pytest.mark.parametrize(
    ("is_same", "count", "expected"),
    [
        pytest.param([True] * 300 + [False] * 300, 40, [0, 300, 1, 301], id="sorted, as LFW's folds are"),
        pytest.param([False, True] * 100, 40, [1, 0, 3, 2], id="in turn"),
        pytest.param([True] * 3 + [False], 2, [0, 3], id="as many of each"),
        pytest.param([True] * 3, 3, [0, 1, 2], id="one kind alone"),
    ],
)
def test_pairs_of_each_kind_come_in_turn(tmp_path, is_same, count, expected):
    images = [FACE + bytes(str(i), "ascii") for i in range(2 * len(is_same))]
    verification_bin.write(tmp_path / "lfw.bin", images, is_same)
    (tmp_path / "sample").mkdir()
    assert sample_set(str(tmp_path), tmp_path / "sample", "lfw", 1024) == len(is_same)
    found = verification_bin.read(tmp_path / "sample" / "lfw.bin")
    assert len(found) == count
    for place, pair in enumerate(expected):
        assert found.images[2 * place : 2 * place + 2] == images[2 * pair : 2 * pair + 2]
        assert found.is_same[place] == is_same[pair]
