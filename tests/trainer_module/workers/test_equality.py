"""The same model, to the rounding of sums, from one process, several devices and several workers."""

import dataclasses

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
    path = f"{job.run_dir}/job.json"
    with open(path, "w") as file:
        file.write(job.to_json())
    done = python(["-m", "tests.trainer_module.workers.replica_trainings", path])
    assert done.returncode == 0, done.stderr
    return {name: _values(f"{job.run_dir}/{name}") for name in ("one", "mirrored", "central", "sampled")}


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
        (2, {"shard_centres": True}),
        (3, {"shard_centres": True}),
        (2, {"shard_centres": True, "sample_rate": 0.5}),
    ],
)
def test_workers_equal_one_process(job, single, tmp_path, workers, settings):
    settings = dataclasses.replace(job.settings, workers=workers, **settings)
    supervisor.run_workers(dataclasses.replace(job, run_dir=str(tmp_path), settings=settings))
    _assert_same(_values(tmp_path), single["one" if settings.sample_rate == 1.0 else "sampled"])
    assert (tmp_path / "holdout.json").read_text() == _holdout(job, settings)


def _holdout(job, settings):
    with open(f"{job.run_dir}/{'one' if settings.sample_rate == 1.0 else 'sampled'}/holdout.json") as file:
        return file.read()
