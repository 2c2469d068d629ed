"""Two workers that really train as pods of a TrainJob and of a TFJob, behind a stand-in API server."""

import contextlib
import dataclasses
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from arcface_common.errors import DataError
from pipeline.config import PipelineConfig
from pipeline.kubeflow_settings import KubeflowSettings
from pipeline.runners.cluster_jobs import ClusterJob
from tests.cluster import Cluster
from tests.trainer_module.training_data import write_shards
from tests.trainer_module.workers.trainings import LABELS, assert_same_weights, two_workers, weights
from trainer_module.training.kept_steps import newest_step
from trainer_module.workers.cluster_job import train_in_pods
from trainer_module.workers.supervisor import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forks")]
STEPS = 40


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return two_workers(tmp_path_factory.mktemp("pods"), STEPS, log_every=5, checkpoint_every=4)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with Cluster(tmp_path / "cluster") as cluster:
        monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)
        yield cluster


def _train(cluster, job, folder, kind):
    """Trains by pods on the job; what the step's own folder has then."""
    job = dataclasses.replace(
        job, run_dir=str(folder / "out"), work_dir=str(folder / "root" / "training" / "training-01")
    )
    pods = ClusterJob(kind, "arcface", KubeflowSettings(volumes={"runs": str(folder / "root")}))
    config = PipelineConfig("data", str(folder / "root"), train=job.settings)
    cluster.apply(*pods.applied_before(config))
    train_in_pods(job, pods.manifest(config))
    return job


def _signal_a_workers_process(pod, number):
    """A signal to the process that trains in a pod."""
    for child in Path(f"/proc/{pod.pid}/task/{pod.pid}/children").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), number)


def _disturb(cluster, work_dir, done):
    """SIGKILL to the worker in the second pod, once there is a checkpoint; later SIGTERM to the first pod."""
    deadline = time.monotonic() + 300
    for disturbance in ("kill", "drain"):
        before = newest_step(work_dir)
        while newest_step(work_dir) <= before and time.monotonic() < deadline:
            time.sleep(0.002)
        (job,) = cluster.jobs.values()
        first, second = job.pods
        if disturbance == "kill":
            _signal_a_workers_process(second, signal.SIGKILL)
            while job.pods[1] is second and time.monotonic() < deadline:
                time.sleep(0.02)
        else:
            _signal_a_workers_process(second, signal.SIGSTOP)  # or the training might end meanwhile
            time.sleep(0.5)
            os.kill(first.pid, signal.SIGTERM)
            time.sleep(0.5)
            _signal_a_workers_process(second, signal.SIGCONT)
        done.append(disturbance)


def test_two_pods_of_a_train_job_end_in_the_model_of_two_processes_whatever_becomes_of_them(job, cluster, tmp_path):
    """A worker is killed, and later a pod's node is drained."""
    done = []
    work_dir = str(tmp_path / "root" / "training" / "training-01")
    thread = threading.Thread(target=_disturb, args=(cluster, work_dir, done), daemon=True)
    thread.start()
    trained = _train(cluster, job, tmp_path, "trainjob")
    thread.join()
    assert done == ["kill", "drain"]
    (pods,) = cluster.jobs.values()
    assert pods.restarts == 2
    killed, drained = pods.lost[:2], pods.lost[2:]
    assert all("worker 1 of 2 was killed after step" in pod.log for pod in killed if pod.code == 138 and pod.index)
    assert drained[0].code == 128 + signal.SIGTERM
    assert drained[1].code in (138, 128 + signal.SIGTERM)  # the Job's controller ends who is left
    (step,) = re.findall(rf"stopped after step (\d+) of {STEPS}\n", drained[0].log)
    assert f"training goes on from step {step} of {STEPS}" in pods.pods[0].log

    whole = dataclasses.replace(job, run_dir=str(tmp_path / "whole"))
    run_workers(whole)
    assert_same_weights(weights(trained.run_dir), weights(whole.run_dir), 1e-4)

    # Of one pod, and as the CRD's schema has it: the stand-in refuses all else.
    told = [status["progressPercentage"] for status in cluster.statuses]
    assert told == sorted(told)
    assert told[-1] == 100
    assert cluster.statuses[-1]["estimatedRemainingSeconds"] == 0
    metrics = {one["name"]: one["value"] for one in cluster.statuses[-1]["metrics"]}
    assert metrics["step"] == str(STEPS)
    assert set(metrics) == {"step", "loss", "top_1", "images_per_second"}


def test_two_pods_of_a_tf_job_train(job, cluster, tmp_path):
    trained = _train(cluster, dataclasses.replace(job, settings=_steps(job, 4)), tmp_path, "tfjob")
    assert weights(trained.run_dir)
    assert cluster.statuses == []  # the training operator takes none


def test_bad_input_in_a_pod_is_bad_input_of_the_step(job, cluster, tmp_path):
    write_shards(tmp_path / "train", [(b"no image", label) for label in LABELS], shards=2)
    split = dataclasses.replace(job.train, patterns=[str(tmp_path / "train" / "*.tfrecord")])
    bad = dataclasses.replace(job, train=split, settings=_steps(job, 4))
    message = (
        r"^TrainJob kubeflow-user/arcface-01: worker \d ended with exit code 65: .*ingest.decode=true.*; FailJobSet"
    )
    with pytest.raises(DataError, match=message):
        _train(cluster, bad, tmp_path, "trainjob")
    assert cluster.jobs["arcface-01"].restarts == 0


def _steps(job, steps):
    return dataclasses.replace(job.settings, steps=steps, warmup_steps=1, checkpoint_every=2)
