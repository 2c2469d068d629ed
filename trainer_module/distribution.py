"""One worker or many: the strategy of this process, and the processes of a multi-worker run on this host."""

import json
import os
import socket
import subprocess
import sys
import time

import tensorflow as tf

from trainer_module.console import CONSOLE_FD
from trainer_module.job import TrainingJob
from trainer_module.settings import TrainSettings

TF_CONFIG = "TF_CONFIG"
_STARTED = "started"
_POLL_S = 0.2


class WorkerError(RuntimeError):
    """A worker process ended badly, or never started to train."""


def make_strategy(settings: TrainSettings) -> tf.distribute.Strategy:
    """The strategy of this process.

    Args:
      settings: `strategy` and `workers`; with TF_CONFIG set and more than one worker in it, multi-worker.

    Returns:
      MultiWorkerMirroredStrategy under TF_CONFIG; CentralStorageStrategy where asked for; MirroredStrategy over the
      GPUs where there are several; else the default one, which costs nothing.
    """
    if _cluster_size() > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if settings.strategy == "central":
        devices = [gpu.name for gpu in gpus] or ["/cpu:0"]
        return tf.distribute.experimental.CentralStorageStrategy(compute_devices=devices, parameter_device="/cpu:0")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def _cluster_size() -> int:
    config = json.loads(os.environ.get(TF_CONFIG) or "{}")
    return sum(len(tasks) for tasks in config.get("cluster", {}).values())


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes what the run leaves behind."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (resolver.task_type == "worker" and resolver.task_id == 0 and not has_chief)


def mark_started(run_dir: str) -> None:
    """Tells the supervising process that a first step is done, so that the start's deadline no longer counts."""
    with open(os.path.join(run_dir, _STARTED), "w"):
        pass


def run_workers(job: TrainingJob) -> None:
    """Trains with `settings.workers` processes on this host and waits for them.

    A chief whose worker never starts waits for ever and ignores SIGTERM, so all are killed when the start takes longer
    than `settings.start_timeout_s`, or as soon as one of them fails.

    Raises:
      WorkerError: with the number, the exit code and the log of the worker.
    """
    os.makedirs(job.run_dir, exist_ok=True)
    job_path = os.path.join(job.run_dir, "job.json")
    with open(job_path, "w") as f:
        f.write(job.to_json())
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(job.settings.workers)]
    logs = [os.path.join(job.run_dir, f"worker-{index}.log") for index in range(job.settings.workers)]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for index, log in enumerate(logs):
            processes.append(_start_worker(job_path, addresses, index, log))
        _supervise(processes, logs, job)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start_worker(job_path: str, addresses: list[str], index: int, log: str) -> "subprocess.Popen[bytes]":
    """Starts one worker; only the chief, worker 0, gets the console to draw its progress on."""
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    console = os.environ.get(CONSOLE_FD)
    environment = {name: value for name, value in os.environ.items() if name != CONSOLE_FD}
    environment[TF_CONFIG] = json.dumps(config)
    if index == 0 and console:
        environment[CONSOLE_FD] = console
    with open(log, "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "trainer_module.worker", job_path],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[int(console)] if index == 0 and console else [],
        )


def _supervise(processes: "list[subprocess.Popen[bytes]]", logs: list[str], job: TrainingJob) -> None:
    deadline = time.monotonic() + job.settings.start_timeout_s
    started = os.path.join(job.run_dir, _STARTED)
    while True:
        codes = [process.poll() for process in processes]
        for index, code in enumerate(codes):
            if code:
                raise WorkerError(
                    f"worker {index} of {len(processes)} was expected to end with code 0; its log is {logs[index]}. "
                    f"Received: code {code}, {_last_line(logs[index])!r}"
                )
        if all(code == 0 for code in codes):
            return
        if time.monotonic() > deadline and not os.path.exists(started):
            raise WorkerError(
                f"{len(processes)} workers were expected to finish a first step within "
                f"train.start_timeout_s={job.settings.start_timeout_s} s; their logs are {logs}. Received: none"
            )
        time.sleep(_POLL_S)


def _last_line(log: str) -> str:
    with open(log, errors="replace") as f:
        return (f.read().rstrip().splitlines() or [""])[-1]


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now; bound all at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
