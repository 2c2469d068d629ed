"""What is said about a data set's folder before anything runs."""

import pytest

from pipeline.config import make_config
from pipeline.preflight import check_dataset
from tests.helpers import write_pairs, write_records
from trainer_module.errors import DataError


@pytest.fixture
def data(tmp_path):
    """A training set, lfw and a set of an own name."""
    write_records(tmp_path / "data", [0, 0, 1])
    for name in ("lfw", "mine"):
        write_pairs(tmp_path / "data", name, 10)
    return tmp_path / "data"


def _checked(data, *overrides):
    return check_dataset(make_config(str(data), "root", "demo", overrides)).evaluation.sets


def test_a_usual_set_that_is_missing_is_skipped_aloud(data, capsys):
    assert _checked(data) == ("lfw",)
    assert "cfp_fp.bin is not in" in capsys.readouterr().err
    assert _checked(data, "evaluation.conditions=[mine.tar >= 0.5]") == ("lfw", "mine")


def test_a_set_that_is_named_must_be_there(data):
    with pytest.raises(DataError, match=r"cfp_fp\.bin: expected .*evaluation\.sets names. Received: no such file"):
        _checked(data, "evaluation.sets=lfw,cfp_fp")
    with pytest.raises(DataError, match=r"cfp_fp\.bin: expected .*evaluation\.conditions names. Received: no such"):
        _checked(data, "evaluation.conditions=[lfw.accuracy >= 0.9, cfp_fp.accuracy >= 0.9]")


def test_a_gap_wants_the_column_that_it_names(data):
    gap = "evaluation.conditions=[lfw.accuracy gap age <= 0.1]"
    with pytest.raises(DataError, match=r"lfw\.csv: expected .* Received: no such file"):
        _checked(data, gap)
    (data / "lfw.csv").write_text("image,group\n")
    with pytest.raises(DataError, match=r"lfw\.csv: expected the column 'age', .* Received: \['image', 'group'\]"):
        _checked(data, gap)
    (data / "lfw.csv").write_text("image,group,age\n")
    assert _checked(data, gap) == ("lfw",)
