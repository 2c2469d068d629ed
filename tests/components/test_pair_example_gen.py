"""Attributes beside a verification set, in what PairExampleGen writes and in its cache key."""

import json

import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

from arcface_common.errors import DataError
from components.content_driver import input_files
from components.formats import verification_bin
from components.pair_example_gen.component import PairExampleGen
from components.pair_example_gen.executor import PairExampleGenExecutor
from pipeline.beam import beam_args
from tests.helpers import jpeg, write_pairs

pytestmark = pytest.mark.slow


def _features(data, out, **limits):
    """The optional features of each pair of lfw, as text."""
    examples = standard_artifacts.Examples()
    examples.uri = str(out)
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args("local")), tmp_dir=str(out / "tmp"))
    properties = {
        "input_base": str(data),
        "input_config": PairExampleGen(str(data), ("lfw",)).exec_properties["input_config"],
        "options": json.dumps({"sets": ["lfw"], **limits}),
    }
    PairExampleGenExecutor(context).Do({}, {"examples": [examples]}, properties)
    (path,) = tf.io.gfile.glob(artifact_utils.get_split_uri([examples], "lfw") + "/*")
    found = []
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        assert "image_b" in feature
        names = [name for name in ("attributes", "identities") if name in feature]
        found.append({name: [value.decode() for value in feature[name].bytes_list.value] for name in names})
    return found


def test_attributes_and_identities_of_each_pair(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 10)
    assert _features(tmp_path / "data", tmp_path / "without") == [{}] * 10
    rows = [f"{i},{'é' if i < 3 else ''},{30 if i < 2 else 40 + i % 2},{i // 4}" for i in range(20)]
    (tmp_path / "data" / "lfw.csv").write_text("\n".join(["image,group,age,identity", *rows]))
    found = _features(tmp_path / "data", tmp_path / "with")
    assert found[0] == {"attributes": ["age=30", "group=é"], "identities": ["0"]}
    assert found[1] == {"attributes": ["age=40 / 41"], "identities": ["0"]}
    assert found[9]["identities"] == ["4"]


def test_bad_attributes_end_the_run(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 10)
    (tmp_path / "data" / "lfw.csv").write_text("image,group\n0,a\n")
    with pytest.raises(DataError, match=r"lfw\.csv: expected a row for each of the 20 images"):
        _features(tmp_path / "data", tmp_path / "out")


def test_a_small_file_does_not_become_a_large_set(tmp_path):
    """One image in a thousand pairs: 10 KB that would be 8 MB of Examples."""
    data = tmp_path / "data"
    data.mkdir()
    verification_bin.write(data / "lfw.bin", [jpeg(0)] * 2000, [True] * 1000)
    assert (data / "lfw.bin").stat().st_size < 20_000
    assert len(_features(data, tmp_path / "a")) == 1000
    message = (
        r"lfw\.bin: expected images that take up to 1 MiB .*\(evaluation\.max_set_mb\). Received: \d MiB of 1,000 p"
    )
    with pytest.raises(DataError, match=message):
        _features(data, tmp_path / "b", max_set_mb=1)
    assert not list((tmp_path / "b").rglob("*.tfrecord"))


def test_an_image_of_too_many_pixels_ends_the_run(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 10)
    with pytest.raises(
        DataError, match=r"lfw\.bin: pair 0, first image: .* \(ingest\.max_image_pixels\). Received: 112x"
    ):
        _features(tmp_path / "data", tmp_path / "out", max_image_pixels=100)


def test_the_limits_reach_the_executor():
    component = PairExampleGen("data", ("lfw",), max_image_pixels=7, max_set_mb=8)
    assert json.loads(component.exec_properties["options"]) == {"sets": ["lfw"], "max_image_pixels": 7, "max_set_mb": 8}


def test_the_cache_key_stands_for_the_attributes_too(tmp_path):
    write_pairs(tmp_path, "lfw", 10)
    write_pairs(tmp_path, "lfw.old", 10)
    config = PairExampleGen(str(tmp_path), ("lfw",)).exec_properties["input_config"]
    assert input_files(str(tmp_path), config) == [str(tmp_path / "lfw.bin")]
    (tmp_path / "lfw.csv").write_text("image,group\n")
    assert input_files(str(tmp_path), config) == [str(tmp_path / "lfw.bin"), str(tmp_path / "lfw.csv")]


def test_a_set_named_like_another_ones_attributes_is_in_the_key_beside_them(tmp_path):
    sets = ("lfw", "lfw_attributes")
    for name in sets:
        write_pairs(tmp_path, name, 10)
    (tmp_path / "lfw.csv").write_text("image,group\n")
    config = PairExampleGen(str(tmp_path), sets).exec_properties["input_config"]
    names = ["lfw.bin", "lfw.csv", "lfw_attributes.bin"]
    assert input_files(str(tmp_path), config) == [str(tmp_path / name) for name in names]


@pytest.mark.parametrize("name", ["faces [v1]", "faces *", "f?ces", "one\ntwo", "back\\slash"])
def test_a_folders_name_is_taken_literally(tmp_path, name):
    for folder, seed in ((name, 10), ("faces 1", 12), ("faces v", 12), ("faces", 12)):
        write_pairs(tmp_path / folder, "lfw", seed)
    config = PairExampleGen(str(tmp_path / name), ("lfw",)).exec_properties["input_config"]
    assert input_files(str(tmp_path / name), config) == [str(tmp_path / name / "lfw.bin")]
    assert _features(tmp_path / name, tmp_path / "out") == [{}] * 10


def test_a_folder_without_any_of_the_files_is_no_input(tmp_path):
    config = PairExampleGen(str(tmp_path), ("lfw",)).exec_properties["input_config"]
    with pytest.raises(DataError, match=r"lfw\.bin or .*lfw\.csv: expected a file. Received: no such file"):
        input_files(str(tmp_path), config)
