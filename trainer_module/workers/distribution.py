"""One worker or many: the strategy of this process, and the processes of a multi-worker run on this host."""

import os
import socket
import subprocess
import sys
import time

import tensorflow as tf

from arcface_common.aside import private_folder
from arcface_common.console import CONSOLE_FD, log_file
from trainer_module.settings import TrainSettings
from trainer_module.workers.cluster import LOOPBACK, TF_CONFIG, Task, past_proxies
from trainer_module.workers.job import TrainingJob

_STARTED = "ARCFACE_TFX_STARTED"
_POLL_S = 0.2


class WorkerError(RuntimeError):
    """A worker process ended badly, or never started to train."""


def make_strategy(settings: TrainSettings) -> tf.distribute.Strategy:
    """The strategy of this process.

    Args:
      settings: `strategy` and `workers`; with several workers, TF_CONFIG says which of them this process is.

    Returns:
      MultiWorkerMirroredStrategy with several workers; CentralStorageStrategy if asked for; MirroredStrategy over the
      GPUs where there are several; else the default one, which costs nothing.
    """
    if settings.workers > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if settings.strategy == "central":
        devices = [gpu.name for gpu in gpus] or ["/cpu:0"]
        return tf.distribute.experimental.CentralStorageStrategy(compute_devices=devices, parameter_device="/cpu:0")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes what the run leaves behind."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (resolver.task_type == "worker" and resolver.task_id == 0 and not has_chief)


def agreed(strategy: tf.distribute.Strategy, chief_says: bool) -> bool:
    """What the chief says, known to all workers, who call this together; the others say False."""
    if strategy.num_replicas_in_sync == 1:
        return chief_says
    told = strategy.run(tf.identity, args=(tf.constant(float(chief_says)),))
    return bool(strategy.reduce("sum", told, axis=None) > 0)


def mark_started() -> None:
    """Tells the supervising process, if there is one, that a first step is done: the start's deadline is over."""
    path = os.environ.get(_STARTED)
    if path is not None:
        with open(path, "w"):
            pass


def run_workers(job: TrainingJob, joined: Task | None = None) -> None:
    """Trains with `settings.workers` processes on this host, or with one of a cluster's, and waits for them.

    A chief whose worker never starts waits for ever and ignores SIGTERM, so all are killed when the start takes longer
    than `settings.start_timeout_s`, or as soon as one of them fails. Their logs lie beside the command's, and not in
    `job.run_dir`, which TFX removes after a failure. Where a command has no log (a container), standard error takes
    their ends.

    Args:
      job: what to train.
      joined: the task of another's cluster that this host takes on; None makes a cluster of this host's own.

    Raises:
      WorkerError: with the number, the exit code and the log of the worker.
    """
    tasks = Task.on_this_host(_free_addresses(job.settings.workers)) if joined is None else [joined]
    with private_folder() as scratch:
        job_path = os.path.join(scratch, "job.json")
        with open(job_path, "w") as f:
            f.write(job.to_json())
        kept = log_file()
        prefix = os.path.join(scratch, "") if kept is None else f"{kept.removesuffix('.log')}-"
        logs = [f"{prefix}{task.role}-{task.index}.log" for task in tasks]
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for task, log in zip(tasks, logs, strict=True):
                processes.append(_start_worker(job_path, task, log, shows=joined is not None or task.is_first()))
            _supervise(processes, logs, job, _started_path(job_path))
        except WorkerError:
            if kept is None:
                _copy_to_stderr(logs)
            raise
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _started_path(job_path: str) -> str:
    """The file by which a worker says that its first step is done."""
    return os.path.join(os.path.dirname(job_path), "started")


def _start_worker(job_path: str, task: Task, log: str, *, shows: bool) -> "subprocess.Popen[bytes]":
    """Starts one worker; one alone, which `shows`, gets the console to draw its progress on."""
    console = os.environ.get(CONSOLE_FD) if shows else None
    environment = {name: value for name, value in os.environ.items() if name != CONSOLE_FD}
    environment |= {TF_CONFIG: task.to_json(), _STARTED: _started_path(job_path)}
    # The same modules as here, whatever lies in the working directory (-P).
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    past_proxies(environment, [*LOOPBACK, *task.hosts()])
    if console:
        environment[CONSOLE_FD] = console
    with open(log, "wb", opener=_private) as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "trainer_module.workers.worker", job_path],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[int(console)] if console else [],
        )


def _private(path: str, flags: int) -> int:
    """An opener of files that their owner alone reads."""
    return os.open(path, flags, 0o600)


def _supervise(processes: "list[subprocess.Popen[bytes]]", logs: list[str], job: TrainingJob, started: str) -> None:
    deadline = time.monotonic() + job.settings.start_timeout_s
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
                f"{job.settings.workers} workers were expected to finish a first step within "
                f"train.start_timeout_s={job.settings.start_timeout_s} s; the logs are {', '.join(logs)}. "
                "Received: none"
            )
        time.sleep(_POLL_S)


def _last_line(log: str) -> str:
    with open(log, errors="replace") as f:
        return (f.read().rstrip().splitlines() or [""])[-1]


def _copy_to_stderr(logs: list[str]) -> None:
    """Puts the ends of the workers' logs, 64 KiB each, into this process's: a container keeps no other."""
    for log in logs:
        with open(log, "rb") as f:
            f.seek(max(0, os.path.getsize(log) - 2**16))
            print(f"--- {log}\n{f.read().decode(errors='replace')}", file=sys.stderr, flush=True)


def _free_addresses(count: int) -> list[str]:
    """HOST:PORT on the loopback where nothing listens now; bound all at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    finally:
        for s in sockets:
            s.close()
