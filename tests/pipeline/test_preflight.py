"""What is said about a data set's folder before anything runs."""

import pytest

from components import recordio
from pipeline.config import make_config
from pipeline.preflight import check_dataset, check_run
from tests.helpers import write_pairs, write_records
from trainer_module.errors import DataError


@pytest.fixture
def data(tmp_path):
    """A training set, lfw and a set of an own name."""
    write_records(tmp_path / "data", [0, 0, 1])
    for name in ("lfw", "mine"):
        write_pairs(tmp_path / "data", name, 10)
    return tmp_path / "data"


def _offsets(data):
    """Byte offsets of the images."""
    with recordio.RecordReader(str(data / "train.rec")) as reader:
        return recordio.read_layout(reader, recordio.read_index(str(data / "train.idx"))).image_offsets


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


def test_a_set_that_is_misspelt_is_named_with_its_like(data):
    with pytest.raises(DataError, match=r"mien\.bin: expected .* Received: no such file; did you mean 'mine'\?"):
        _checked(data, "evaluation.sets=lfw,mien")


def test_a_bad_image_at_the_end_is_left_to_quarantine(data):
    with open(data / "train.rec", "r+b") as file:
        file.seek(max(_offsets(data)))
        file.write(bytes(4))
    with pytest.raises(DataError, match=r"train\.rec, key 3, byte offset \d+: expected"):
        _checked(data)
    assert _checked(data, "ingest.on_bad_record=quarantine") == ("lfw",)


def test_what_the_environment_or_the_backbone_forbids_comes_before_the_data(data, monkeypatch):
    config = make_config(str(data), "root", "demo", ["train.backbone=iresnet51"])
    with pytest.raises(DataError, match="did you mean 'iresnet50'"):
        check_run(config)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    with pytest.raises(DataError, match="`unset TF_CONFIG`"):
        check_run(make_config(str(data), "root", "demo"))


def test_a_training_that_memory_does_not_hold(data, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    size = "train.batch_size=1_000_000_000"
    with pytest.raises(DataError, match="train.batch_size: expected about .* 2 identities and 1 worker without a GPU"):
        _checked(data, size)
    assert _checked(data, size, "train.check_memory=false") == ("lfw",)


def test_a_gap_wants_the_column_that_it_names(data):
    gap = "evaluation.conditions=[lfw.accuracy gap age <= 0.1]"
    with pytest.raises(DataError, match=r"lfw\.csv: expected .* Received: no such file"):
        _checked(data, gap)
    (data / "lfw.csv").write_text("image,group\n")
    with pytest.raises(DataError, match=r"lfw\.csv: expected the column 'age', .* Received: \['image', 'group'\]"):
        _checked(data, gap)
    (data / "lfw.csv").write_text("image,group,age\n")
    assert _checked(data, gap) == ("lfw",)
