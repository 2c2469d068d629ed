"""The folder in which the Trainer finds a training that was stopped."""

import dataclasses
import json

import pytest
from tfx.types import standard_artifacts

from components.trainer.executor import _begin, _name
from trainer_module.settings import TrainSettings


def _name_of(tmp_path, asked=8, **settings):
    (tmp_path / "shard").write_bytes(b"records")
    examples, graph = standard_artifacts.Examples(), standard_artifacts.TransformGraph()
    examples.uri = graph.uri = str(tmp_path)
    config = {"settings": TrainSettings(**settings).result_settings(), "any_size": False}
    properties = {"train_args": "{}", "eval_args": "{}", "custom_config": json.dumps(config), "steps": asked}
    return _name({"examples": [examples], "transform_graph": [graph]}, properties)


def test_a_training_goes_on_with_another_number_of_workers(tmp_path):
    assert _name_of(tmp_path, workers=2) == _name_of(tmp_path) == _name_of(tmp_path, workers=4, restarts=9)
    assert _name_of(tmp_path, workers=2, shard_centres=True) == _name_of(tmp_path)


@pytest.mark.parametrize(
    ("norm", "told"), [("batch", True), ("batch_renorm", True), ("sync_batch", False), ("group", False)]
)
def test_another_number_of_workers_is_said_where_the_model_hangs_on_it(tmp_path, capsys, norm, told):
    two = TrainSettings(norm=norm, workers=2)
    _begin(str(tmp_path / "it"), two.result_settings())
    (tmp_path / "it" / "1200").mkdir()
    _begin(str(tmp_path / "it"), two.result_settings())
    assert capsys.readouterr().err == ""
    _begin(str(tmp_path / "it"), TrainSettings(norm=norm).result_settings())
    said = capsys.readouterr().err
    assert ("step 1,200 was reached with train.workers=2, not 1: train.norm=" in said) == told
    assert bool(said) == told


@pytest.mark.parametrize("other", [{"seed": 2}, {"batch_size": 32}, {"norm": "group"}])
def test_and_with_nothing_else_changed(tmp_path, other):
    assert _name_of(tmp_path, **other) != _name_of(tmp_path)


def test_and_of_the_length_that_a_run_asks_for(tmp_path):
    assert _name_of(tmp_path, asked=9) != _name_of(tmp_path)


def test_a_training_that_is_left_behind_is_named_with_what_differs(tmp_path, capsys):
    settings = TrainSettings(batch_size=48).result_settings()
    _begin(str(tmp_path / "first"), settings)
    assert capsys.readouterr().err == ""
    (tmp_path / "first" / "142").mkdir()
    _begin(str(tmp_path / "first"), settings)  # which goes on
    assert capsys.readouterr().err == ""
    other = dataclasses.replace(TrainSettings(batch_size=50), workers=5)
    _begin(str(tmp_path / "second"), other.result_settings())
    told = "  a new training: the one that was stopped at step 142 had train.batch_size=48\n"
    assert capsys.readouterr().err == told
    _begin(str(tmp_path / "third"), settings)
    assert capsys.readouterr().err == "  a new training: the one that was stopped at step 142 had other data or code\n"
