"""Several workers that really train: behind a proxy, and as tasks of a cluster that another started."""

import dataclasses
import os
import socket
import threading
import types
from pathlib import Path

import numpy as np
import pytest

from arcface_common.errors import DataError
from tests.helpers import jpeg
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.workers import supervisor
from trainer_module.workers.cluster import Task
from trainer_module.workers.job import TrainingJob

pytestmark = pytest.mark.slow
LABELS = [0, 1, 2, 3] * 4


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    write_shards(folder / "train", [(jpeg(label), label) for label in LABELS], shards=2)
    return TrainingJob(
        train=Split([str(folder / "train" / "*.tfrecord")], write_transform_graph(folder, LABELS)),
        run_dir="",
        settings=TrainSettings(
            backbone="tests.trainer_module.tiny_network:tiny_network",
            embedding_dim=6,
            workers=2,
            batch_size=8,
            steps=2,
            warmup_steps=1,
            shuffle_buffer=8,
        ),
    )


def _weights(run_dir: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf

    from trainer_module.training import checkpoints

    prefix = checkpoints.path_in(str(run_dir))
    names = [name for name, _ in tf.train.list_variables(prefix) if name.startswith("backbone/")]
    return {name: tf.train.load_variable(prefix, name) for name in names}


def test_workers_on_one_host_find_each_other_past_a_proxy(job, tmp_path, monkeypatch):
    # Port 9 is "discard": what goes there is lost, and the first step never comes.
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    supervisor.run_workers(dataclasses.replace(job, run_dir=str(tmp_path)))
    assert _weights(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "curve.csv", "tensorboard"]


def test_the_trainer_refuses_a_cluster_that_it_is_not_told_to_join(monkeypatch, tmp_path):
    """In a container nothing is looked at before `run_fn`."""
    from trainer_module.run_fn import run_fn

    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}')
    told = {"settings": TrainSettings().to_dict(), "any_size": False}
    with pytest.raises(DataError, match="`unset TF_CONFIG`, or join them with train.join_cluster=true"):
        run_fn(types.SimpleNamespace(custom_config=told, model_run_dir=str(tmp_path)))
    assert not os.listdir(tmp_path)


def test_each_host_that_joins_a_cluster_keeps_the_same_model(job, tmp_path):
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in (first, second)]
    settings = dataclasses.replace(job.settings, join_cluster=True)
    runs = [tmp_path / "host-a", tmp_path / "host-b"]
    threads = [
        threading.Thread(
            target=supervisor.run_workers,
            args=(dataclasses.replace(job, run_dir=str(run), settings=settings), task),
        )
        for run, task in zip(runs, Task.on_this_host(addresses), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ours, theirs = map(_weights, runs)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)
    assert all(os.listdir(run / "tensorboard") for run in runs)
