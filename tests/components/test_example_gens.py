"""Both ExampleGens through Beam: what they write, that order is seeded, and how bad input is refused."""

import json
import os

import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

from components.pair_example_gen.executor import PairExampleGenExecutor
from components.record_example_gen.executor import RecordExampleGenExecutor, read_dataset
from tests.helpers import jpeg, write_pairs, write_records
from trainer_module.errors import DataError

LABELS = [i // 5 for i in range(40)]


def _run(executor_class, data, out, options, beam_args=("--runner=FnApiRunner",)):
    examples = standard_artifacts.Examples()
    examples.uri = str(out)
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args), tmp_dir=str(out) + "-tmp")
    properties = {"input_base": str(data), "options": json.dumps(options)}
    executor_class(context).Do({}, {"examples": [examples]}, properties)
    return examples


def _read(examples, split):
    folder = artifact_utils.get_split_uri([examples], split)
    parsed = []
    for path in sorted(tf.io.gfile.glob(os.path.join(folder, "*"))):
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            parsed.append({n: (f.bytes_list.value or f.int64_list.value)[0] for n, f in features.items()})
    return parsed


def _records(data, out, beam_args=("--runner=FnApiRunner",), **settings):
    return _run(RecordExampleGenExecutor, data, out, {"shards": 3, **settings}, beam_args)


def test_every_record_once_with_its_untouched_image(tmp_path):
    write_records(tmp_path / "data", LABELS)
    examples = _records(tmp_path / "data", tmp_path / "out")
    parsed = _read(examples, "train")
    assert sorted(e["key"] for e in parsed) == list(range(1, 41))
    assert [e["key"] for e in parsed] != list(range(1, 41))  # shuffled
    for e in parsed:
        assert e["label"] == LABELS[e["key"] - 1]
        assert e["image"] == jpeg(e["key"] - 1)
    shards = sorted(os.listdir(tmp_path / "out" / "Split-train"))
    assert shards == [f"data-0000{i}-of-00003.tfrecord" for i in range(3)]
    assert examples.get_int_custom_property("records") == 40
    assert examples.get_int_custom_property("identities") == 8
    assert examples.get_int_custom_property("bytes") == sum(len(jpeg(i)) for i in range(40))
    assert not (tmp_path / "out" / "unfinished").exists()


def test_shards_are_the_same_bytes_on_one_process_or_several(tmp_path):
    write_records(tmp_path / "data", LABELS)
    _records(tmp_path / "data", tmp_path / "one")
    several = ("--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
    _records(tmp_path / "data", tmp_path / "several", beam_args=several)
    for shard in (tmp_path / "one" / "Split-train").iterdir():
        assert shard.read_bytes() == (tmp_path / "several" / "Split-train" / shard.name).read_bytes()


def test_the_seed_determines_the_order(tmp_path):
    write_records(tmp_path / "data", LABELS)

    def keys(seed, out):
        return [e["key"] for e in _read(_records(tmp_path / "data", tmp_path / out, seed=seed), "train")]

    assert keys(1, "a") == keys(1, "b")
    assert keys(1, "c") != keys(2, "d")


def test_a_missing_index_is_rebuilt(tmp_path):
    write_records(tmp_path / "data", LABELS)
    with_index = _read(_records(tmp_path / "data", tmp_path / "a"), "train")
    (tmp_path / "data" / "train.idx").unlink()
    assert _read(_records(tmp_path / "data", tmp_path / "b"), "train") == with_index


def test_identities_must_be_as_many_as_the_header_says(tmp_path):
    write_records(tmp_path / "data", LABELS, identities=9)
    with pytest.raises(DataError, match=r"train\.rec: expected 9 identities.* Received: 8 different labels in 40"):
        _records(tmp_path / "data", tmp_path / "out")


def test_a_damaged_record_is_named_with_key_and_offset_and_leaves_no_shard(tmp_path):
    write_records(tmp_path / "data", LABELS)
    layout = read_dataset(str(tmp_path / "data"))
    offset = int(layout.image_offsets[16])
    with open(tmp_path / "data" / "train.rec", "r+b") as f:
        f.seek(offset)
        f.write(b"\0\0\0\0")
    with pytest.raises(DataError, match=rf"train\.rec, key 17, byte offset {offset}: expected a record"):
        _records(tmp_path / "data", tmp_path / "out", shards=1)
    assert not list((tmp_path / "out").rglob("*.tfrecord"))


def test_a_record_that_is_no_image_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: b"GIF89a" if seed == 3 else jpeg(seed))
    write_records(tmp_path / "data", LABELS)
    with pytest.raises(DataError, match=r"key 4, byte offset \d+: expected a JPEG or PNG image. Received: bytes 47 49"):
        _records(tmp_path / "data", tmp_path / "out")


def test_pairs_keep_their_order_and_bytes(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 12)
    write_pairs(tmp_path / "data", "cfp_fp", 10)
    examples = _run(PairExampleGenExecutor, tmp_path / "data", tmp_path / "out", {"sets": ["lfw", "cfp_fp"]})
    assert artifact_utils.decode_split_names(examples.split_names) == ["lfw", "cfp_fp"]
    assert examples.get_int_custom_property("pairs") == 22
    parsed = _read(examples, "lfw")
    assert [e["pair_index"] for e in parsed] == list(range(12))
    assert [e["is_same"] for e in parsed] == [1, 0] * 6
    assert {e["set"] for e in parsed} == {b"lfw"}
    assert parsed[3]["image_a"] == jpeg(1003)
    assert parsed[3]["image_b"] == jpeg(5003)


def test_a_missing_or_broken_set_is_named(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 10)
    options = {"sets": ["lfw", "cfp_fp"]}
    with pytest.raises(DataError, match=r"cfp_fp\.bin: expected a verification set. Received: no such file"):
        _run(PairExampleGenExecutor, tmp_path / "data", tmp_path / "out", options)
    (tmp_path / "data" / "cfp_fp.bin").write_bytes((tmp_path / "data" / "lfw.bin").read_bytes()[:500])
    with pytest.raises(DataError, match=r"cfp_fp\.bin: expected a whole pickle"):
        _run(PairExampleGenExecutor, tmp_path / "data", tmp_path / "out2", options)
