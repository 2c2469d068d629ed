"""A training that was stopped or killed goes on, and comes to the weights of one that was not."""

import dataclasses
import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import jpeg
from tests.processes import python
from tests.trainer_module.tiny_network import write_metadata, write_run
from tests.trainer_module.training_data import write_pairs, write_shards, write_transform_graph
from trainer_module.data.pairs import PairSplits
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints
from trainer_module.training.kept_steps import has_ended
from trainer_module.training.state import create_state
from trainer_module.workers import supervisor
from trainer_module.workers.job import TrainingJob

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forks")]
LABELS = [0, 1, 2, 3] * 5
STEPS = 12  # of 8 images: an epoch ends in the middle of a step


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resumption")
    write_shards(folder / "train", [(jpeg(i), label) for i, label in enumerate(LABELS)], shards=3)
    split = Split([str(folder / "train" / "*.tfrecord")], write_transform_graph(folder, LABELS))
    settings = TrainSettings(
        backbone="tests.trainer_module.tiny_network:tiny_network",
        **{"embedding_dim": 6, "batch_size": 8, "steps": STEPS, "warmup_steps": 3, "learning_rate": 0.02},
        **{"shuffle_buffer": 4, "log_every": 2, "checkpoint_every": 3, "scale": 8.0},
        **{"weight_decay": 0.6, "l2_decay": 0.8},
    )
    return TrainingJob(split, str(folder / "run"), settings, holdout=split)


@pytest.fixture(scope="module")
def whole(job):
    """The results of a training that nothing stopped."""
    found = _train(job)
    assert 0 < found["weights"]["l2_factor/.ATTRIBUTES/VARIABLE_VALUE"] < 1
    return found


def _train(job, *told, code=0, folder=None):
    """Trains in a process of its own; returns its results, or what it said where it is to end with another code."""
    folder = folder or Path(job.run_dir).parent
    path = folder / "job.json"
    path.write_text(job.to_json())
    shutil.rmtree(job.run_dir, ignore_errors=True)  # as TFX does after a failure
    os.makedirs(job.run_dir)
    ended = python(["-m", "tests.trainer_module.training.stopped_training", str(path), *map(str, told)])
    assert ended.returncode == code, ended.stderr
    return ended.stderr if code else {**_results(job.run_dir), "said": ended.stderr}


def _results(run_dir):
    import tensorflow as tf

    prefix = checkpoints.path_in(run_dir)
    names = [name for name, _ in tf.train.list_variables(prefix) if "ATTRIBUTES" in name]
    weights = {name: tf.train.load_variable(prefix, name) for name in names}
    assert any("head" in name for name in names)
    assert any("optimizer" in name for name in names)
    return {"weights": weights, "curve": (Path(run_dir) / "curve.csv").read_text()}


def _assert_same(found, whole):
    assert found["weights"].keys() == whole["weights"].keys()
    for name, value in whole["weights"].items():
        np.testing.assert_array_equal(found["weights"][name], value, err_msg=name)
    assert found["curve"] == whole["curve"]


def _with_work(job, tmp_path):
    return dataclasses.replace(job, run_dir=str(tmp_path / "run"), work_dir=str(tmp_path / "work"))


def _kept(job):
    names = (name for name in os.listdir(job.work_dir) if name != "tensorboard")
    return sorted(names, key=lambda name: (len(name), name))


# The newest may not have been written yet, and the oldest not removed.
@pytest.mark.parametrize(
    ("killed_at", "kept"), [(3, [""]), (5, ["", "3"]), (11, ["3 6", "3 6 9", "6 9"])], ids=["3", "5", "11"]
)
def test_a_killed_training_comes_to_the_same_weights(job, whole, tmp_path, killed_at, kept):
    job = _with_work(job, tmp_path)
    _train(job, "SIGKILL", killed_at, code=-signal.SIGKILL, folder=tmp_path)
    left = [name for name in _kept(job) if name.isdigit()]
    assert " ".join(left) in kept
    found = _train(job, folder=tmp_path)
    _assert_same(found, whole)
    assert ("goes on from step" in found["said"]) == bool(left)
    assert has_ended(job.work_dir)
    events = os.listdir(os.path.join(job.run_dir, "tensorboard"))
    assert len(events) == 2  # before and after
    again = _train(job, folder=tmp_path)  # the results were lost before they were recorded
    assert f"goes on from step {STEPS - 1}" in again["said"]
    _assert_same(again, whole)


def test_a_head_that_draws_and_remembers_goes_on_too(job, tmp_path):
    settings = {"loss": "curricularface", "sub_centres": 2, "sample_rate": 0.5}
    job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, **settings))
    (tmp_path / "whole").mkdir()
    whole = _train(dataclasses.replace(job, run_dir=str(tmp_path / "whole" / "run")), folder=tmp_path / "whole")
    assert any("/t/" in name for name in whole["weights"])
    job = _with_work(job, tmp_path)
    _train(job, "SIGKILL", 5, code=-signal.SIGKILL, folder=tmp_path)
    _assert_same(_train(job, folder=tmp_path), whole)


def test_centres_that_began_at_the_data_go_on_where_they_were(job, tmp_path):
    start = str(tmp_path / "start")
    other = dataclasses.replace(job.settings, seed=5)
    write_run(create_state(other, 2), other, start)
    settings = {"init_from": start, "init_centres": "data", "frozen_statistics": True}
    job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, **settings))
    (tmp_path / "whole").mkdir()
    whole = _train(dataclasses.replace(job, run_dir=str(tmp_path / "whole" / "run")), folder=tmp_path / "whole")
    job = _with_work(job, tmp_path)
    _train(job, "SIGKILL", 5, code=-signal.SIGKILL, folder=tmp_path)
    _assert_same(_train(job, folder=tmp_path), whole)


def test_float16_goes_on_with_its_loss_scale(job, tmp_path):
    settings = {"precision": "mixed_float16", "scale": 1e6}  # gradients overflow at first: the scale is halved
    job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, **settings))
    (tmp_path / "whole").mkdir()
    whole = _train(dataclasses.replace(job, run_dir=str(tmp_path / "whole" / "run")), folder=tmp_path / "whole")
    (scale,) = [value for name, value in whole["weights"].items() if "current_loss_scale" in name]
    assert 1 < scale < 2**15
    job = _with_work(job, tmp_path)
    _train(job, "SIGKILL", 8, code=-signal.SIGKILL, folder=tmp_path)
    _assert_same(_train(job, folder=tmp_path), whole)


def test_the_best_checkpoint_is_known_after_a_kill(job, tmp_path):
    pairs = PairSplits({"lfw": [write_pairs(tmp_path / "lfw")]})
    settings = dataclasses.replace(job.settings, verify_every=2, keep="best")
    job = dataclasses.replace(job, settings=settings, pairs=pairs)
    (tmp_path / "whole").mkdir()
    whole = dataclasses.replace(job, run_dir=str(tmp_path / "whole" / "run"))
    trained = _train(whole, folder=tmp_path / "whole")
    assert "kept is best-" in trained["said"]
    verified = (Path(whole.run_dir) / "verified.json").read_text()
    (name,) = [name for name in trained["weights"] if name.startswith("optimizer/_iterations/")]
    assert trained["weights"][name] == json.loads(verified)["step"] < STEPS
    held_out = (Path(whole.run_dir) / "holdout.json").read_text()
    assert json.loads(held_out)["step"] == json.loads(verified)["step"]
    job = _with_work(job, tmp_path)
    _train(job, "SIGKILL", 11, code=-signal.SIGKILL, folder=tmp_path)
    assert any(name.startswith("best-") for name in os.listdir(job.work_dir))
    _assert_same(_train(job, folder=tmp_path), trained)
    assert (Path(job.run_dir) / "verified.json").read_text() == verified
    assert (Path(job.run_dir) / "holdout.json").read_text() == held_out


def test_a_bad_step_is_named_and_earlier_checkpoints_stay(job, tmp_path):
    harsh = {"learning_rate": 100.0, "weight_decay": 10.0, "l2_decay": 1.0, "warmup_steps": 0}
    settings = dataclasses.replace(job.settings, **harsh, checkpoint_every=1, log_every=STEPS)
    job = _with_work(dataclasses.replace(job, settings=settings), tmp_path)
    said = _train(job, code=1, folder=tmp_path)
    found = re.search(r"at step (\d+), learning rate \S+, records ([\d, ]+)$", said, re.MULTILINE)
    step, keys = int(found[1]), [int(key) for key in found[2].split(",")]
    assert 1 < step <= STEPS and len(keys) == 8 and set(keys) <= set(range(1, len(LABELS) + 1))
    assert _kept(job) == [str(of) for of in (step - 2, step - 1) if of]


@pytest.mark.parametrize(("killed_at", "optimizer"), [(4, {}), (8, {"optimizer": "adamw", "l2_decay": 1.0})])
def test_a_frozen_backbone_goes_on_too(job, whole, tmp_path, killed_at, optimizer):
    """Killed in step 4 and in step 8 of a training whose backbone moves from step 7 on."""
    write_metadata(job.settings, job.run_dir)
    started = {"init_from": job.run_dir, "freeze_steps": 6, "backbone_rate": 0.5}
    job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, **started, **optimizer))
    (tmp_path / "whole").mkdir()
    whole = _train(dataclasses.replace(job, run_dir=str(tmp_path / "whole" / "run")), folder=tmp_path / "whole")
    job = _with_work(job, tmp_path)
    _train(job, "SIGKILL", killed_at, code=-signal.SIGKILL, folder=tmp_path)
    _assert_same(_train(job, folder=tmp_path), whole)


@pytest.mark.parametrize("asked", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_training_that_is_asked_to_stop_writes_a_checkpoint_first(job, whole, tmp_path, asked):
    job = _with_work(job, tmp_path)
    code = {"SIGTERM": -signal.SIGTERM, "SIGHUP": -signal.SIGHUP, "SIGINT": 1}[
        asked
    ]  # a KeyboardInterrupt, which ends in a traceback here
    said = _train(job, asked, 4, code=code, folder=tmp_path)
    assert "stopped after step 4 of 12: the same command goes on from there" in said
    assert _kept(job) == ["3", "4"]
    _assert_same(_train(job, folder=tmp_path), whole)


def test_a_signal_in_the_last_step_loses_no_more_than_that(job, whole, tmp_path):
    job = _with_work(job, tmp_path)
    _train(job, "SIGTERM", STEPS, code=-signal.SIGTERM, folder=tmp_path)
    assert _kept(job) == ["9", "11"]
    shutil.rmtree(job.run_dir)
    _assert_same(_train(job, folder=tmp_path), whole)


def test_a_checkpoint_of_another_training_changes_nothing(job, whole, tmp_path):
    """Nor do files and folders that are none, and what a kill left of one."""
    other = dataclasses.replace(job.settings, embedding_dim=7)
    other = dataclasses.replace(_with_work(job, tmp_path), settings=other)
    _train(other, "SIGTERM", 5, code=-signal.SIGTERM, folder=tmp_path)
    work = Path(other.work_dir)
    (work / ".3.0123.partial").mkdir()
    (work / "007").mkdir()
    (work / "999").touch()
    job = _with_work(job, tmp_path)
    found = _train(job, folder=tmp_path)
    assert f"{work / '3'}: expected a checkpoint of this training. Received: another, " in found["said"]
    assert "; training begins anew" in found["said"]
    _assert_same(found, whole)


def test_a_signal_that_is_ignored_stays_so(job, whole, tmp_path):
    """As a shell lets its background jobs ignore Ctrl-C."""
    job = _with_work(job, tmp_path)
    found = _train(job, "SIGINT", 4, "ignored", folder=tmp_path)
    assert "stopped" not in found["said"]
    _assert_same(found, whole)


@pytest.mark.parametrize("damage", ["truncated", "one byte", "no curve"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(job, whole, tmp_path, damage):
    job = _with_work(job, tmp_path)
    _train(job, "SIGTERM", 8, code=-signal.SIGTERM, folder=tmp_path)
    newest = Path(job.work_dir) / "8"
    data = newest / "checkpoint" / "model.data-00000-of-00001"
    content = data.read_bytes()
    if damage == "truncated":
        data.write_bytes(content[: len(content) // 2])
    elif damage == "one byte":
        middle = len(content) // 2
        data.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        (newest / "curve.csv").unlink()
    said = _train(job, "SIGTERM", 2, code=-signal.SIGTERM, folder=tmp_path)  # after step 8 again
    file = newest / "curve.csv" if damage == "no curve" else data
    received = "no such file" if damage == "no curve" else "a damaged one"
    expected = f"WARNING {file}: expected a whole file of a checkpoint. Received: {received}; the checkpoint of step 6"
    assert f"{expected} is looked at" in said
    assert "goes on from step 6 of 12" in said
    assert _kept(job) == ["6", "8"]  # a whole one: the damaged one counts no more
    _assert_same(_train(job, folder=tmp_path), whole)


def test_two_workers_go_on_together(job, tmp_path):
    settings = dataclasses.replace(job.settings, workers=2, norm="sync_batch", holdout_every=0)
    job = dataclasses.replace(_with_work(job, tmp_path), settings=settings)
    os.makedirs(job.run_dir)
    supervisor.run_workers(job)
    whole = _results(job.run_dir)
    assert _kept(job) == ["9", "11"]
    shutil.rmtree(job.run_dir)
    os.makedirs(job.run_dir)
    supervisor.run_workers(job)
    found = _results(job.run_dir)
    for name, value in whole["weights"].items():
        size = np.abs(value).max()
        np.testing.assert_allclose(found["weights"][name], value, rtol=1e-4, atol=1e-5 * size, err_msg=name)
    assert _kept(job) == ["9", "11"]
