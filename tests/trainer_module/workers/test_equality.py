"""The same model, to the rounding of sums, from one process, several devices and several workers."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import jpeg
from tests.processes import python
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.workers import supervisor
from trainer_module.workers.job import TrainingJob

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forks")]
LABELS = [0, 1, 2, 3, 4] * 4


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """20 steps of 12 images, an epoch of 20; no layer sees more than an image."""
    folder = tmp_path_factory.mktemp("equality")
    write_shards(folder / "train", [(jpeg(i), label) for i, label in enumerate(LABELS)], shards=3)
    split = Split([str(folder / "train" / "*.tfrecord")], write_transform_graph(folder, LABELS))
    settings = TrainSettings(
        backbone="tests.trainer_module.tiny_network:tiny_network",
        **{"embedding_dim": 6, "batch_size": 12, "steps": 20, "warmup_steps": 3, "learning_rate": 0.05},
        **{"shuffle_buffer": 4, "norm": "group", "scale": 8.0, "clip_norm": 0.5, "weight_decay": 0.05},
    )
    return TrainingJob(split, str(folder), settings, holdout=split)


@pytest.fixture(scope="module")
def single(job):
    """Checkpoints of one process: name -> values by variable."""
    return _trained(job, "one", "mirrored", "central", "sampled", "synchronized")


def _trained(job, *names, float64=False, **settings):
    """Trains in the ways that are named, see `replica_trainings`; name -> values by variable."""
    os.makedirs(job.run_dir, exist_ok=True)
    path = f"{job.run_dir}/job.json"
    with open(path, "w") as file:
        file.write(dataclasses.replace(job, settings=dataclasses.replace(job.settings, **settings)).to_json())
    done = python(["-m", "tests.trainer_module.workers.replica_trainings", path, *names, *["float64"] * float64])
    assert done.returncode == 0, done.stderr
    return {name: _values(f"{job.run_dir}/{name}") for name in names}


def _values(run_dir):
    import tensorflow as tf

    from trainer_module.training import checkpoints

    prefix = checkpoints.path_in(str(run_dir))
    return {name: tf.train.load_variable(prefix, name) for name, _ in tf.train.list_variables(prefix) if "ATTR" in name}


def _assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert any("head/centres" in name for name in found)
    for name, value in expected.items():
        assert np.abs(value).max() > 0, name
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5 * np.abs(value).max(), err_msg=name)


@pytest.mark.parametrize("strategy", ["mirrored", "central"])
def test_two_devices_equal_one(single, strategy):
    _assert_same(single[strategy], single["one"])


@pytest.mark.parametrize(
    ("workers", "settings"),
    [
        (2, {}),
        (3, {}),
        (2, {"norm": "sync_batch"}),
        (3, {"norm": "sync_batch"}),
        (2, {"shard_centres": True}),
        (3, {"shard_centres": True}),
        (2, {"shard_centres": True, "sample_rate": 0.5}),
    ],
)
def test_workers_equal_one_process(job, single, tmp_path, workers, settings):
    settings = dataclasses.replace(job.settings, workers=workers, **settings)
    supervisor.run_workers(dataclasses.replace(job, run_dir=str(tmp_path), settings=settings))
    alone = "sampled" if settings.sample_rate < 1.0 else "synchronized" if settings.norm == "sync_batch" else "one"
    _assert_same(_values(tmp_path), single[alone])
    assert (tmp_path / "holdout.json").read_text() == Path(job.run_dir, alone, "holdout.json").read_text()


def _distance(found, expected):
    """The largest difference, as a share of the largest value of its variable."""
    assert found.keys() == expected.keys()
    return max(np.abs(found[name] - value).max() / np.abs(value).max() for name, value in expected.items())


def test_two_devices_with_batch_norm_at_a_large_rate_differ_by_rounding_alone(job, tmp_path):
    """A training that makes thousands of roundings of one, also of its first weights'; in float64 of smaller ones."""
    large = {"norm": "sync_batch", "learning_rate": 0.1, "scale": 64.0, "clip_norm": 0.0, "batch_size": 8}
    single, double = (dataclasses.replace(job, run_dir=str(tmp_path / name), holdout=None) for name in ("32", "64"))
    single = _trained(single, "one", "mirrored", "moved", **large)
    double = _trained(double, "one", "mirrored", float64=True, **large)
    apart, moved = (_distance(single[name], single["one"]) for name in ("mirrored", "moved"))
    assert moved > 1e-5
    assert 0 < apart < 30 * moved
    assert 0 < _distance(double["mirrored"], double["one"]) < 1e-10
