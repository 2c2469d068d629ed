"""The node that says what the files hold: what must be there is named, and no digest stands for nothing."""

import pytest

from arcface_common.errors import DataError
from components.data_digest.component import pairs_digest, records_digest


def _write(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return str(folder)


RECORDS = ["train.rec", "train.idx"]
PAIRS = ["lfw.bin", "lfw.csv", "agedb_30.bin", "agedb_30.csv"]


def test_records_that_are_not_there_are_an_error_that_names_them(tmp_path):
    for folder in (str(tmp_path / "absent"), _write(tmp_path / "empty"), _write(tmp_path / "index", "train.idx")):
        with pytest.raises(DataError, match="/train.rec: expected a RecordIO file .*Received: no such file"):
            records_digest(folder, RECORDS, "")


def test_the_index_may_be_left_out_and_counts_where_it_is(tmp_path):
    without = records_digest(_write(tmp_path / "a", "train.rec"), RECORDS, "")
    assert without != records_digest(_write(tmp_path / "b", *RECORDS), RECORDS, "")


def test_a_set_that_is_not_there_is_an_error_and_its_attributes_are_none(tmp_path):
    folder = _write(tmp_path / "a", "lfw.bin", "lfw.csv", "agedb_30.csv")
    with pytest.raises(DataError, match="/agedb_30.bin: expected a verification set. Received: no such file"):
        pairs_digest(folder, PAIRS, "")
    _write(tmp_path / "a", "agedb_30.bin")
    assert len(pairs_digest(folder, PAIRS, "")) == 32


def test_without_sets_of_files_there_is_no_digest_of_them(tmp_path):
    assert pairs_digest(_write(tmp_path / "a", "train.rec"), [], "") == ""
