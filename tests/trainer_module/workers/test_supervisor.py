"""Supervision of worker processes on this host."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arcface_common.console import noise_to
from arcface_common.errors import DataError
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.workers import supervisor
from trainer_module.workers.cluster import Task
from trainer_module.workers.job import TrainingJob


def _job(tmp_path, **settings):
    return TrainingJob(
        train=Split([str(tmp_path / "nothing-*")], str(tmp_path / "no_graph")),
        run_dir=str(tmp_path / "run"),
        settings=TrainSettings(workers=2, batch_size=8, steps=1, warmup_steps=0, **settings),
    )


def test_a_job_travels_as_json(tmp_path):
    job = dataclasses.replace(_job(tmp_path, colour="bgr"), holdout=Split(["held/*"], "graph", any_size=True))
    assert TrainingJob.from_json(job.to_json()) == job


@pytest.mark.slow
def test_a_worker_that_fails_ends_the_run_and_names_the_log(tmp_path):
    # Why comes first, in a sentence.
    message = (
        r"^(?!Traceback)\w+: [^\n\[{]*vocabulary[^\n\[{]*; worker \d of 2 ended by it before its first step; "
        r"the workers' log is .*/logs/run-workers\.log$"
    )
    (tmp_path / "logs").mkdir()
    with noise_to(str(tmp_path / "logs" / "run.log")), pytest.raises(supervisor.WorkerError, match=message) as raised:
        supervisor.run_workers(_job(tmp_path))
    assert raised.value.__cause__ is None  # an error that is its own cause has no end
    # It outlives the Trainer's folders, and nobody else reads it.
    logs = sorted((tmp_path / "logs").iterdir())
    assert [log.name for log in logs] == ["run-workers.log", "run.log"]
    assert {log.stat().st_mode & 0o777 for log in logs} == {0o600}
    assert {line[:9] for line in logs[0].read_text().splitlines()} == {"worker 0 ", "worker 1 "}
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_bad_input_of_a_worker_is_bad_input(tmp_path):
    images, labels = tmp_path / "train", [0, 1] * 4
    write_shards(images, [(b"no image", label) for label in labels], shards=2)
    job = _job(tmp_path, backbone="tests.trainer_module.tiny_network:tiny_network", embedding_dim=6)
    split = Split([str(images / "*.tfrecord")], write_transform_graph(tmp_path, labels))
    with (
        noise_to(str(tmp_path / "run.log")),
        pytest.raises(DataError, match="ingest.decode=true.*; worker . of 2 ended"),
    ):
        supervisor.run_workers(dataclasses.replace(job, train=split))


@pytest.mark.slow
def test_without_a_log_of_the_command_a_failure_shows_the_workers_logs(tmp_path, capfd):
    with pytest.raises(supervisor.WorkerError, match="worker . of 2 ended by it"):
        supervisor.run_workers(_job(tmp_path))
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.slow
def test_workers_that_do_not_start_in_time_are_stopped(tmp_path):
    with pytest.raises(supervisor.WorkerError, match=r"=0\.5 s; the workers' log is .*Received: none"):
        supervisor.run_workers(_job(tmp_path, start_timeout_s=0.5, restarts=0))


def _workers_of(job_file: str) -> list[str]:
    """Process numbers of the workers of a job, by their command lines."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if (
                entry.isdigit()
                and f"trainer_module.workers.worker\0{job_file}" in Path("/proc", entry, "cmdline").read_text()
            ):
                found.append(entry)
    return found


def _imports_tensorflow(pid: str) -> bool:
    """Whether a process is past what it does before that."""
    with contextlib.suppress(OSError):
        return "tensorflow" in Path("/proc", pid, "maps").read_text()
    return False


@pytest.mark.slow
def test_a_task_of_a_cluster_whose_others_never_come_is_stopped(tmp_path):
    # 192.0.2.1 is nobody's (RFC 5737); TensorFlow itself would wait for ever.
    task = Task({"worker": ["127.0.0.1:0", "192.0.2.1:2222"]}, "worker", 0)
    with pytest.raises(
        supervisor.WorkerError, match=r"2 workers were expected to finish a first step within .*=1\.0 s"
    ):
        supervisor.run_workers(_job(tmp_path, start_timeout_s=1.0, join_cluster=True), task)


@pytest.mark.slow
@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_supervisor_that_is_ended(tmp_path, ended_by):
    code = (
        "import sys\n"
        "from trainer_module.workers.supervisor import run_workers\n"
        "from trainer_module.workers.job import TrainingJob\n"
        "run_workers(TrainingJob.from_json(sys.argv[1]))"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", code, _job(tmp_path).to_json()],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    job_file = str(tmp_path / "arcface-tfx-")
    while len(workers := [pid for pid in _workers_of(job_file) if _imports_tensorflow(pid)]) < 2:
        assert supervisor.poll() is None
        time.sleep(0.05)
    for pid in workers:
        os.kill(int(pid), signal.SIGSTOP)  # or they might end by themselves, for want of data
    supervisor.send_signal(ended_by)
    assert supervisor.wait() == -ended_by
    while _workers_of(job_file):  # until pytest's timeout
        time.sleep(0.05)
