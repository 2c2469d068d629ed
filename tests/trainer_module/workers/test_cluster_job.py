"""A training by pods: submitted to a stand-in API server by the official client, and followed to its end."""

import contextlib
import copy
import json
import os
import signal
import threading
import time

import pytest

from arcface_common.errors import DataError
from pipeline.config import PipelineConfig
from pipeline.kubeflow_settings import KubeflowSettings
from pipeline.runners.cluster_jobs import ClusterJob
from tests.cluster import Cluster
from tests.processes import Started
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.workers import cluster_job
from trainer_module.workers.cluster_job import train_in_pods
from trainer_module.workers.job import TrainingJob
from trainer_module.workers.supervisor import WorkerError

pytestmark = pytest.mark.slow

# What pods do in place of a training, which `test_pods` has.
_BEGINS = """
import json, os, pathlib, sys, time
job = json.load(open(sys.argv[1]))
index = int(os.environ.get("JOB_COMPLETION_INDEX") or json.loads(os.environ["TF_CONFIG"])["task"]["index"])
"""
_TRAINS = """
run = pathlib.Path(job["run_dir"])
run.mkdir(exist_ok=True)
(run / "left").write_text("by pods")
"""
_WAITS = "time.sleep(600)\n"
_STEP = """
import json, sys
from trainer_module.workers import cluster_job
from trainer_module.workers.job import TrainingJob
cluster_job._POLL_S = 0.1
cluster_job.train_in_pods(TrainingJob.from_json(open(sys.argv[1]).read()), json.load(open(sys.argv[2])))
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with Cluster(tmp_path / "cluster") as cluster:
        monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)
        monkeypatch.setattr(cluster_job, "_POLL_S", 0.1)
        yield cluster


@pytest.fixture
def job(tmp_path):
    work = tmp_path / "root" / "training" / "training-0123"
    return TrainingJob(
        Split(["nothing"], "nothing"),
        str(tmp_path / "out"),
        TrainSettings(workers=2, restarts=1, batch_size=8),
        work_dir=str(work),
    )


def _manifest(cluster, job, code, kind="trainjob"):
    """Of pods that run `code` in place of a worker; what it needs before is applied."""
    pods = ClusterJob(kind, "arcface", KubeflowSettings(volumes={"runs": os.path.dirname(job.work_dir)}))
    config = PipelineConfig("", "", train=job.settings)
    cluster.apply(*pods.applied_before(config))
    manifest = copy.deepcopy(pods.manifest(config))
    told = {"command": ["python"], "args": ["-c", _BEGINS + code, "{job}"]}
    if kind == "trainjob":
        manifest["spec"]["trainer"] |= told
    else:
        (container,) = manifest["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
        container |= told
    return manifest


@contextlib.contextmanager
def _step(job, manifest, folder):
    """The step in a process of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(job.to_json())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with Started(["-c", _STEP, str(folder / "job.json"), str(folder / "manifest.json")]) as process:
        yield process


def _wait_for(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("kind", "plural"), [("trainjob", "trainjobs"), ("tfjob", "tfjobs")])
def test_what_pods_leave_is_the_steps_and_the_job_goes(cluster, job, tmp_path, capfd, kind, plural):
    train_in_pods(job, _manifest(cluster, job, _TRAINS, kind))
    assert (tmp_path / "out" / "left").read_text() == "by pods"
    assert list(cluster.jobs) == ["arcface-0123"]
    assert cluster.object(plural, "arcface-0123") is None
    assert "Job kubeflow-user/arcface-0123: submitted\n" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["trainjob", "tfjob"])
def test_a_hopeless_end_fails_with_its_reason_and_is_tried_once(cluster, job, kind):
    code = "if index == 1:\n    print('a.jpg: expected b', file=sys.stderr); sys.exit(65)\n"
    message = r"Job kubeflow-user/arcface-0123: worker 1 ended with exit code 65: a.jpg: expected b; \w+: \w+"
    with pytest.raises(DataError, match=message):
        train_in_pods(job, _manifest(cluster, job, code + _WAITS, kind))
    assert cluster.jobs["arcface-0123"].restarts == 0


def test_pods_that_are_lost_each_time_end_after_so_many_restarts(cluster, job):
    message = r"worker \d ended with exit code 138; ReachedMaxRestarts: jobset failed due to reaching max number"
    with pytest.raises(WorkerError, match=message):
        train_in_pods(job, _manifest(cluster, job, "sys.exit(138)"))
    assert cluster.jobs["arcface-0123"].restarts == 1


def test_a_step_that_was_killed_is_followed_by_the_next_one(cluster, job, tmp_path, capfd):
    manifest = _manifest(cluster, job, f"time.sleep(5)\n{_TRAINS}")
    with _step(job, manifest, tmp_path / "step") as step:
        _wait_for(lambda: cluster.jobs)
        os.kill(step.pid, signal.SIGKILL)
    train_in_pods(job, manifest)
    assert (tmp_path / "out" / "left").read_text() == "by pods"
    said = capfd.readouterr().err
    assert "TrainJob kubeflow-user/arcface-0123: is there already\n" in said
    assert "submitted" not in said


def test_a_step_that_is_stopped_removes_the_job_and_a_failed_one_is_submitted_anew(cluster, job, tmp_path):
    with pytest.raises(WorkerError, match="ended with exit code 1; FailJobSetFailurePolicyAction"):
        train_in_pods(job, _manifest(cluster, job, "sys.exit(1)"))
    failed = cluster.jobs["arcface-0123"]
    assert cluster.object("trainjobs", "arcface-0123")  # for a person to look at
    with _step(job, _manifest(cluster, job, _WAITS), tmp_path / "step") as step:
        _wait_for(lambda: cluster.jobs["arcface-0123"] is not failed)
        os.kill(step.pid, signal.SIGTERM)
        done = step.wait()
    assert done.returncode == 128 + signal.SIGTERM
    assert "removed, since this step was stopped" in done.stderr
    assert cluster.object("trainjobs", "arcface-0123") is None


def test_the_job_goes_with_the_pod_of_the_step(cluster, job, monkeypatch):
    monkeypatch.setenv("KFP_POD_NAME", "step-pod")
    monkeypatch.setenv("KFP_POD_UID", "12-34")
    manifest = _manifest(cluster, job, "sys.exit(1)")
    with pytest.raises(WorkerError):
        train_in_pods(job, manifest)
    (owner,) = cluster.object("trainjobs", "arcface-0123")["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "Pod", "name": "step-pod", "uid": "12-34"}


def test_an_api_server_that_is_away_is_waited_for(cluster, job, tmp_path, monkeypatch):
    def away():
        _wait_for(lambda: cluster.jobs)
        cluster.away = True
        time.sleep(3)
        cluster.away = False

    thread = threading.Thread(target=away, daemon=True)
    thread.start()
    manifest = _manifest(cluster, job, f"time.sleep(1)\n{_TRAINS}")
    train_in_pods(job, manifest)
    thread.join()
    assert (tmp_path / "out" / "left").read_text() == "by pods"

    monkeypatch.setattr(cluster_job, "_PATIENCE_S", 1.0)
    threading.Thread(target=away, daemon=True).start()
    cluster.jobs.clear()
    with pytest.raises(WorkerError, match=r"expected the API server to take what this step asks for. Received: 503, "):
        train_in_pods(job, _manifest(cluster, job, _WAITS))
    cluster.away = False


def test_a_job_that_somebody_removes_is_an_error(cluster, job):
    thread = threading.Thread(target=lambda: (_wait_for(lambda: cluster.jobs), cluster.jobs["arcface-0123"].remove()))
    thread.start()
    with pytest.raises(WorkerError, match=r"arcface-0123: expected to end by itself. Received: it was removed$"):
        train_in_pods(job, _manifest(cluster, job, _WAITS))
    thread.join()


def test_a_step_that_may_not_submit_says_so(cluster, job):
    manifest = _manifest(cluster, job, _WAITS)
    cluster.allowed.clear()
    with pytest.raises(
        WorkerError, match=r"arcface-0123: expected the API server to take .* Received: 403, .*cannot get resource"
    ):
        train_in_pods(job, manifest)
