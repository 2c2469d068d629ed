"""Workers that are killed or hang in the middle: all begin again from the last checkpoint, to the same model."""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from arcface_common.console import noise_to
from arcface_common.errors import DataError
from tests.processes import STOPS_AT_FIRST, python
from tests.trainer_module.workers.trainings import assert_same_weights, two_workers, weights
from trainer_module.training.kept_steps import newest_step
from trainer_module.workers import supervisor
from trainer_module.workers.heartbeat import HEARTBEAT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forks")]
STEPS = 40
HEARTBEATS = "arcface-tfx-*/job.json-worker-0"
_SECONDS = 120


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return two_workers(tmp_path_factory.mktemp("lost-workers"), STEPS, log_every=20, checkpoint_every=4)


def _prepared(job, folder, monkeypatch, **settings):
    """The job with folders of its own, and the place where the workers' heartbeats are."""
    (folder / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    (folder / "run").mkdir()
    settings = dataclasses.replace(job.settings, **settings)
    return dataclasses.replace(job, run_dir=str(folder / "run"), work_dir=str(folder / "work"), settings=settings)


def _worker(workers, folder, index):
    """Process number of a worker that runs in a folder; None where it isn't there."""
    heartbeat = re.compile(re.escape(str(folder)) + rf".*worker-{index}")
    for worker in reversed(workers):
        if heartbeat.fullmatch(worker.environment[HEARTBEAT]):
            return worker.pid if Path(f"/proc/{worker.pid}").exists() else None
    return None


def _done(folder):
    """The last step that the first worker has noted."""
    done = 0
    for path in (folder / "tmp").glob(HEARTBEATS):
        with contextlib.suppress(FileNotFoundError):
            done = max(done, int(path.read_text() or 0))
    return done


def _at_step(folder, step, action):
    """Starts a thread that does something once the first worker has done a step."""

    def wait():
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            if _done(folder) >= step:
                return action()
            time.sleep(0.002)
        return None

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def _started(workers, folder, *indices):
    """Process numbers of workers, as soon as all are there: a step takes less time than to look for them."""
    deadline = time.monotonic() + _SECONDS
    while not all(found := [_worker(workers, folder, index) for index in indices]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _signal(workers, folder, number, *indices):
    for index in indices:
        os.kill(_worker(workers, folder, index), number)


@contextlib.contextmanager
def _standing_still(workers, folder):
    """Meanwhile the second worker is stopped, and the other one waits for it within a step or two."""
    second = _worker(workers, folder, 1)
    os.kill(second, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(second, signal.SIGCONT)


def _until_written(folder, work_dir):
    """Waits for the checkpoint of the last fourth step."""
    deadline = time.monotonic() + _SECONDS
    while newest_step(work_dir) < _done(folder) - 4 and time.monotonic() < deadline:
        time.sleep(0.002)


def _kill(workers, folder, work_dir, indices):
    """Kills workers in the middle, but not in that of writing a checkpoint."""
    with _standing_still(workers, folder):
        _until_written(folder, work_dir)
        if indices == [1]:
            for scratch in (folder / "tmp").iterdir():
                shutil.rmtree(scratch)
        _signal(workers, folder, signal.SIGKILL, *indices)


@pytest.fixture(scope="module")
def undisturbed(job, tmp_path_factory, forks):
    with pytest.MonkeyPatch.context() as monkeypatch:
        job = _prepared(job, tmp_path_factory.mktemp("undisturbed"), monkeypatch)
        supervisor.run_workers(job)
    return weights(job.run_dir)


def test_killed_workers_begin_again_and_end_in_the_same_model(job, forks, undisturbed, tmp_path, monkeypatch, capfd):
    """The chief, another one whose temporary folder was emptied, and both at once."""
    job = _prepared(job, tmp_path, monkeypatch, restarts=1)  # each gets further than the one before
    killed = {8: [0], 18: [1], 28: [0, 1]}
    threads = [
        _at_step(tmp_path, step, lambda indices=indices: _kill(forks, tmp_path, job.work_dir, indices))
        for step, indices in killed.items()
    ]
    supervisor.run_workers(job)
    for thread in threads:
        thread.join()
    said = capfd.readouterr().err
    lost = re.findall(r"  worker ([01])(?: and worker 1)? of 2 (?:was|were) killed after step (\d+) by SIGKILL", said)
    again = re.findall(r"begin again from step (\d+) \(restart \d\)", said)
    assert [int(index) in indices for (index, _), indices in zip(lost, killed.values(), strict=True)] == [True] * 3
    for (_, step), first in zip(lost, again, strict=True):
        assert int(step) - 4 <= int(first) <= int(step)
    assert "training ended after 3 restarts\n" in said
    assert_same_weights(weights(job.run_dir), undisturbed, 1e-4)


def test_a_worker_that_is_late_or_frozen_is_waited_for_and_then_replaced(
    job, forks, undisturbed, tmp_path, monkeypatch, capfd
):
    job = _prepared(job, tmp_path, monkeypatch, stall_timeout_s=20.0)
    monkeypatch.setenv(STOPS_AT_FIRST, "worker-1")

    def freeze_twice():
        pids = _started(forks, tmp_path, 1)
        monkeypatch.delenv(STOPS_AT_FIRST)
        time.sleep(25)
        os.kill(pids[0], signal.SIGCONT)
        _at_step(tmp_path, 3, lambda: os.kill(pids[0], signal.SIGSTOP)).join()
        time.sleep(5)
        os.kill(pids[0], signal.SIGCONT)
        time.sleep(0.01)  # a few steps
        os.kill(pids[0], signal.SIGSTOP)

    thread = threading.Thread(target=freeze_twice)
    thread.start()
    supervisor.run_workers(job)
    thread.join()
    said = capfd.readouterr().err
    # TensorFlow notices after some 10 seconds; the deadline is for what it doesn't.
    assert "worker 1 stopped by a signal" in said
    assert "training ended after 1 restart\n" in said
    assert_same_weights(weights(job.run_dir), undisturbed, 1e-4)


@pytest.fixture
def small_disk(tmp_path):
    """Where checkpoints go: 1 MiB, which somebody else fills."""
    (tmp_path / "work").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path / "work"], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"file systems can't be mounted here: {mounted.stderr.strip()}")
    yield tmp_path / "work"
    subprocess.run(["umount", tmp_path / "work"], check=True)


def test_a_full_disk_is_named_and_a_cut_checkpoint_gives_way(
    job, forks, undisturbed, small_disk, tmp_path, monkeypatch, capfd
):
    job = _prepared(job, tmp_path, monkeypatch)

    def fill():
        with _standing_still(forks, tmp_path):
            _until_written(tmp_path, job.work_dir)
            with contextlib.suppress(OSError), open(small_disk / "of somebody else", "wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass

    thread = _at_step(tmp_path, 9, fill)
    with pytest.raises(DataError, match=f"{job.work_dir}/.*[Nn]o space left.*; worker 0 of 2 ended by it after step"):
        supervisor.run_workers(job)
    thread.join()
    assert "begin again" not in capfd.readouterr().err
    (small_disk / "of somebody else").unlink()
    newest = newest_step(job.work_dir)
    assert newest >= 8
    with open(small_disk / str(newest) / "checkpoint" / "model.data-00000-of-00001", "r+b") as file:
        file.truncate(100)

    (tmp_path / "logs").mkdir()
    with noise_to(str(tmp_path / "logs" / "run.log")):
        supervisor.run_workers(job)
    said = capfd.readouterr().err
    assert f"; the checkpoint of step {newest - 4} is looked at" in said
    assert f"training goes on from step {newest - 4} of {STEPS}" in said
    assert_same_weights(weights(job.run_dir), undisturbed, 1e-4)


@pytest.mark.parametrize("sharded", [False, True])
def test_a_training_goes_on_with_two_workers_one_and_three(job, forks, tmp_path, monkeypatch, capfd, sharded):
    """Each is killed in the middle of an epoch, of 20 images; an undisturbed one has one process."""
    settings = dataclasses.replace(job.settings, batch_size=12, shard_centres=sharded)
    job = dataclasses.replace(job, settings=settings)
    job = _prepared(job, tmp_path, monkeypatch, restarts=0)
    thread = _at_step(tmp_path, 8, lambda: _signal(forks, tmp_path, signal.SIGKILL, 1))
    with pytest.raises(supervisor.WorkerLostError):
        supervisor.run_workers(job)
    thread.join()
    first = newest_step(job.work_dir)
    assert first
    alone = dataclasses.replace(job.settings, workers=1, restarts=3)
    (tmp_path / "job.json").write_text(dataclasses.replace(job, settings=alone).to_json())
    stopped = "tests.trainer_module.training.stopped_training"
    assert python(["-m", stopped, str(tmp_path / "job.json"), "SIGKILL", "9"]).returncode == -signal.SIGKILL
    kept = newest_step(job.work_dir)
    assert kept > first
    (tmp_path / "logs").mkdir()
    with noise_to(str(tmp_path / "logs" / "run.log")):  # a command's: workers speak to its console
        supervisor.run_workers(dataclasses.replace(job, settings=dataclasses.replace(job.settings, workers=3)))
    assert f"training goes on from step {kept} of {STEPS}" in capfd.readouterr().err

    alone = dataclasses.replace(alone, shard_centres=False)
    whole = dataclasses.replace(job, settings=alone, work_dir="", run_dir=str(tmp_path / "whole"))
    (tmp_path / "job.json").write_text(whole.to_json())
    done = python(["-m", stopped, str(tmp_path / "job.json")])
    assert done.returncode == 0, done.stderr
    assert_same_weights(weights(job.run_dir), weights(whole.run_dir), 1e-4)


@pytest.fixture
def _as_a_shell_starts_it():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_as_a_shell_starts_it")
def test_workers_that_are_asked_to_stop_write_a_checkpoint_first(job, forks, undisturbed, tmp_path, monkeypatch, capfd):
    """First one of them alone, as in a pod that has to go; then all processes of the run, as a service manager does."""
    job = _prepared(job, tmp_path, monkeypatch, restarts=1, log_every=5, checkpoint_every=STEPS + 1)
    (tmp_path / "logs").mkdir()

    def ask_one():
        with _standing_still(forks, tmp_path):
            _signal(forks, tmp_path, signal.SIGTERM, 1)

    def ask_all():
        with _standing_still(forks, tmp_path):
            _signal(forks, tmp_path, signal.SIGTERM, 0, 1)
            time.sleep(2 * supervisor._POLL_S)  # until it listens
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(2 * supervisor._POLL_S)  # until it has asked the workers, too

    threads = [_at_step(tmp_path, 4, ask_one), _at_step(tmp_path, 22, ask_all)]
    with noise_to(str(tmp_path / "logs" / "run.log")), pytest.raises(KeyboardInterrupt):  # a command has a console
        supervisor.run_workers(job)
    for thread in threads:
        thread.join()
    said = capfd.readouterr().err
    first, then = map(int, re.findall(r"  stopped after step (\d+) of 40\n", said))
    assert 4 <= first < 22 <= then < STEPS
    assert f"  one of 2 workers was asked to stop after step {first}\n" in said
    assert f"  all workers begin again from step {first} (restart 1)" in said
    assert said.count("stopping after a step, with a checkpoint; once more stops at once") == 1
    assert said.count("was asked to stop") == 1
    assert said.count("the same command goes on from there") == 1
    assert newest_step(job.work_dir) == then

    with noise_to(str(tmp_path / "logs" / "run.log")):
        supervisor.run_workers(job)
    assert f"training goes on from step {then} of {STEPS}" in capfd.readouterr().err
    assert_same_weights(weights(job.run_dir), undisturbed, 1e-4)


@pytest.mark.usefixtures("_as_a_shell_starts_it")
def test_a_stop_waits_for_no_worker_that_is_gone(job, forks, tmp_path, monkeypatch, capfd):
    job = _prepared(job, tmp_path, monkeypatch, stall_timeout_s=20.0)

    def freeze_one_and_ask():
        _signal(forks, tmp_path, signal.SIGSTOP, 1)
        time.sleep(2 * supervisor._POLL_S)
        os.kill(os.getpid(), signal.SIGINT)

    thread = _at_step(tmp_path, 9, freeze_one_and_ask)
    with pytest.raises(KeyboardInterrupt):
        supervisor.run_workers(job)
    thread.join()
    said = capfd.readouterr().err
    assert "worker 1 stopped by a signal" in said
    assert "begin again" not in said
    assert newest_step(job.work_dir) in (4, 8)


def test_workers_that_are_killed_each_time_end_the_run_after_so_many_restarts(job, forks, tmp_path, monkeypatch, capfd):
    job = _prepared(job, tmp_path, monkeypatch, restarts=1, checkpoint_every=STEPS + 1)
    ended = threading.Event()

    def kill_whoever_comes():
        while not ended.is_set():
            if pid := _worker(forks, tmp_path, 1):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)

    thread = threading.Thread(target=kill_whoever_comes)
    thread.start()
    message = r"worker 1 of 2 was killed before its first step by SIGKILL; .*, after 1 restart$"
    try:
        with pytest.raises(supervisor.WorkerLostError, match=message):
            supervisor.run_workers(job)
    finally:
        ended.set()
        thread.join()
    assert "all workers begin again from step 0 (restart 1) in 1 s" in capfd.readouterr().err


def test_a_loss_that_is_no_number_is_tried_once(job, tmp_path, monkeypatch):
    job = _prepared(job, tmp_path, monkeypatch, learning_rate=100.0, weight_decay=0.9, warmup_steps=0, log_every=1)
    with pytest.raises(
        supervisor.WorkerError, match="^FloatingPointError: .*; worker . of 2 ended by it after step"
    ) as error:
        supervisor.run_workers(job)
    assert type(error.value) is supervisor.WorkerError
