"""The processes of a multi-worker training on this host: started together, watched, and started again when one is lost.

TensorFlow's workers wait for a lost one for ever, and a chief that waits ignores SIGTERM. So a process outside of them
owns the deadlines. When one worker is lost all are killed, and all start again from the last checkpoint.
"""

import collections
import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO

from arcface_common.aside import private_folder
from arcface_common.console import CONSOLE_FD, log_file, say
from arcface_common.errors import DataError
from arcface_common.gpus import find_gpus
from trainer_module.training.kept_steps import newest_step
from trainer_module.workers.cluster import BAD_INPUT, LOOPBACK, OTHERS_LOST, STOPPED, TF_CONFIG, Task, past_proxies
from trainer_module.workers.heartbeat import HEARTBEAT, Heartbeat
from trainer_module.workers.job import TrainingJob
from trainer_module.workers.stopping import stop_asked

_POLL_S = 0.2
# A worker that is lost takes others with it within a second or two: who was first is looked for among all of them.
_SETTLE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LINES_KEPT = 200
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class WorkerError(RuntimeError):
    """A worker ended badly, or didn't start, or no longer trains."""


class WorkerLostError(WorkerError):
    """A worker was killed, or hangs: another try may end well."""


class WorkersStoppedError(WorkerLostError):
    """The workers have stopped, with a checkpoint, since one of them was asked to."""


@dataclasses.dataclass
class _Worker:
    """A worker process.

    Attributes:
      name: "worker 1".
      process: it.
      heartbeat: its steps, as it notes them.
      reader: the thread that takes what it says to the log.
      lines: the last lines that it said.
    """

    name: str
    process: "subprocess.Popen[bytes]"
    heartbeat: Heartbeat
    reader: threading.Thread
    lines: "collections.deque[str]"

    def is_stopped(self) -> bool:
        """Whether a signal has it stopped, as SIGSTOP does."""
        try:
            with open(f"/proc/{self.process.pid}/stat") as f:
                return f.read().rpartition(") ")[2][:1] in "Tt"
        except OSError:
            return False

    def last_line(self) -> str:
        """What it said last: why it ended, in a line."""
        self.reader.join(_SETTLE_S)
        return next((line for line in reversed(self.lines) if line.strip()), "")


def run_workers(job: TrainingJob, joined: Task | None = None) -> None:
    """Trains with `settings.workers` processes on this host, or with one of a cluster's, and waits for them.

    Where a worker is killed or hangs, all begin again from the last checkpoint, at most `settings.restarts` times
    without a new checkpoint between them. An error of the training itself (a loss that is no number, no data, a full
    disk) ends it at once. A task that joined another's cluster is not started again: the others don't wait for it.
    Ctrl-C and SIGTERM have the workers write a checkpoint first, from the first step of all on.

    What the workers say goes to one log beside the command's, each line headed by the worker's name. Where a command
    has no log (a container), standard error takes the last lines after a failure.

    Args:
      job: what to train.
      joined: the task of another's cluster that this host takes on; None makes a cluster of this host's own.

    Raises:
      DataError: a worker met bad input.
      WorkerError: with the name of the worker, what became of it, at which step, and the log.
    """
    kept = log_file()
    restarts = in_vain = 0
    with private_folder() as scratch, contextlib.ExitStack() as open_files:
        job_path = os.path.join(scratch, "job.json")
        path = os.path.join(scratch, "workers.log") if kept is None else f"{kept.removesuffix('.log')}-workers.log"
        log = open_files.enter_context(open(path, "w+", opener=_private))
        named = "on standard error" if kept is None else path
        while True:
            began_at = newest_step(job.work_dir)
            os.makedirs(scratch, 0o700, exist_ok=True)  # who cleans up temporary folders may have taken it
            with open(job_path, "w", opener=_private) as f:
                f.write(job.to_json())
            try:
                # Outside, so that no worker is left when the signal is sent again.
                with stop_asked(listen=bool(job.work_dir)) as stops, _gang(job, job_path, joined, log) as workers:
                    _supervise(workers, job, named, stops)
                break
            except DataError:
                if kept is None:
                    _copy_to_stderr(log)
                raise
            except WorkerError as error:
                reached = newest_step(job.work_dir)
                in_vain = 0 if reached > began_at else in_vain
                if not isinstance(error, WorkerLostError) or joined is not None or in_vain == job.settings.restarts:
                    if kept is None:
                        _copy_to_stderr(log)
                    if not restarts:
                        raise
                    times = f"{restarts} restart{'s' if restarts > 1 else ''}"
                    raise type(error)(f"{error}, after {times}") from error
                restarts, in_vain = restarts + 1, in_vain + 1
                pause = min(2.0 ** min(in_vain, 30) / 2, _LONGEST_PAUSE_S)
                say(f"  {error}")
                say(f"  all workers begin again from step {reached:,} (restart {restarts}) in {pause:g} s")
                time.sleep(pause)
    if restarts:
        say(f"  training ended after {restarts} restart{'s' if restarts > 1 else ''}")


@contextlib.contextmanager
def _gang(job: TrainingJob, job_path: str, joined: Task | None, log: IO[str]) -> Iterator[list[_Worker]]:
    """Workers that have been started; none of them lives on afterwards, whatever it ignores."""
    tasks = Task.on_this_host(_free_addresses(job.settings.workers)) if joined is None else [joined]
    workers: list[_Worker] = []
    try:
        for task in tasks:
            environment = {**_share(task, len(tasks), os.environ), HEARTBEAT: f"{job_path}-{task.role}-{task.index}"}
            shows = joined is not None or task.is_first()
            workers.append(_start(job_path, task, environment, log, shows=shows))
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
            worker.reader.join()
            worker.heartbeat.close()


def _share(task: Task, tasks: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker, with its share of this host's processors and GPUs.

    Args:
      task: the worker.
      tasks: workers on this host.
      environment: of this process.
    """
    ours = dict(environment)
    if tasks > 1:
        threads = max(1, len(os.sched_getaffinity(0)) // tasks)
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
            ours.setdefault(name, str(threads))
        named = ours.get(_VISIBLE, "").split(",") if ours.get(_VISIBLE) else [str(i) for i in range(find_gpus().usable)]
        if len(named) >= tasks:
            each = len(named) // tasks
            ours[_VISIBLE] = ",".join(named[task.index * each : (task.index + 1) * each])
    return ours


def _start(job_path: str, task: Task, environment: dict[str, str], log: IO[str], *, shows: bool) -> _Worker:
    """Starts one worker; one alone, which `shows`, gets the console to draw its progress on."""
    console = environment.pop(CONSOLE_FD, None)
    environment[TF_CONFIG] = task.to_json()
    # The same modules as here, whatever lies in the working directory (-P).
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    past_proxies(environment, [*LOOPBACK, *task.hosts()])
    if console and shows:
        environment[CONSOLE_FD] = console
    heartbeat = Heartbeat(environment[HEARTBEAT])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "trainer_module.workers.worker", job_path],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[int(console)] if console and shows else [],
    )
    name, lines = f"{task.role} {task.index}", collections.deque[str](maxlen=_LINES_KEPT)
    reader = threading.Thread(target=_take_to_log, args=(name, process.stdout, lines, log), daemon=True)
    reader.start()
    return _Worker(name, process, heartbeat, reader, lines)


def _take_to_log(name: str, output: IO[bytes], lines: "collections.deque[str]", log: IO[str]) -> None:
    """Copies lines to the log as they come, each headed by the name. One write a line: several threads write."""
    with output:
        for line in output:
            text = line.decode(errors="replace").rstrip()
            lines.append(text)
            log.write(f"{name} | {text}\n")
            log.flush()


def _private(path: str, flags: int) -> int:
    """An opener of files that their owner alone reads."""
    return os.open(path, flags, 0o600)


def _supervise(workers: list[_Worker], job: TrainingJob, log: str, stops: Callable[[], bool]) -> None:
    """Waits until all have ended well, or in any way once `stops` says that it was asked to stop: then no other try.

    Raises:
      DataError: one has met bad input.
      WorkerError: one has failed.
      WorkerLostError: one was lost, or none takes a step any more.
    """
    try:
        _watch(workers, job, log, stops)
    except WorkerError as error:
        if not stops():
            raise
        stopped = isinstance(error, WorkersStoppedError)
        say("  the same command goes on from there" if stopped else f"  {error}")


def _watch(workers: list[_Worker], job: TrainingJob, log: str, stops: Callable[[], bool]) -> None:
    """Waits until all have ended well. Where it was asked to stop it asks all of them, once each has done a step."""
    began, asked = time.monotonic(), False
    while True:
        codes = [worker.process.poll() for worker in workers]
        if any(codes):
            time.sleep(_SETTLE_S)
            raise _cause(workers, job.settings.workers, log)
        if all(code == 0 for code in codes):
            return
        if _check_deadlines(workers, job, time.monotonic() - began, log) and stops() and not asked:
            asked = True
            for worker in workers:
                worker.process.terminate()
        time.sleep(_POLL_S)


def _cause(workers: list[_Worker], count: int, log: str) -> WorkerError | DataError:
    """The error of the worker whose end ended the others: one of its own before a signal, and what others left last.

    Before all of them that of a stop: what becomes of the others once the first has left costs nothing.
    """
    ended = [(worker, worker.process.poll()) for worker in workers]
    # TensorFlow aborts where it can't talk to the others.
    kinds = {OTHERS_LOST: 3, -signal.SIGABRT: 2, STOPPED: -1}
    worker, code = min(
        ((worker, code) for worker, code in ended if code), key=lambda one: kinds.get(one[1], 0 if one[1] > 0 else 1)
    )
    beat = worker.heartbeat.last()
    where = "before its first step" if beat is None else f"after step {beat.step:,}"
    if code == STOPPED:
        return WorkersStoppedError(f"one of {count} workers was asked to stop {where}")
    stopped = _stopped(workers)
    if code < 0:
        names = [one.name for one, its in ended if its == code]
        who = f"{' and '.join(names)} of {count} {'were' if len(names) > 1 else 'was'} killed"
        beside = f", with {stopped}" if stopped else ""
        return WorkerLostError(f"{who} {where} by {_signal(-code)}{beside}; the workers' log is {log}")
    why, who = worker.last_line(), f"{worker.name} of {count} ended by it {where}"
    # TensorFlow gives a worker up that is silent for 10 seconds, and says so at length.
    told = f"{stopped}, silent for too long; {who}: {why}" if stopped else f"{why}; {who}"
    told += f"; the workers' log is {log}"
    if code == BAD_INPUT:
        return DataError(told)
    return WorkerLostError(told) if code == OTHERS_LOST else WorkerError(told)


def _stopped(workers: list[_Worker]) -> str:
    """Those that a signal has stopped, in words; empty where there are none."""
    names = [worker.name for worker in workers if worker.is_stopped()]
    return f"{' and '.join(names)} stopped by a signal" if names else ""


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _check_deadlines(workers: list[_Worker], job: TrainingJob, since_start_s: float, log: str) -> bool:
    """Checks that a first step came in time, and another after each.

    Returns:
      Whether all have done a step.

    Raises:
      WorkerLostError: none came.
    """
    settings, beats = job.settings, [worker.heartbeat.last() for worker in workers]
    received = f"Received: {_stopped(workers) or 'none'}"
    told = [beat for beat in beats if beat is not None]
    if not told and since_start_s > settings.start_timeout_s:
        raise WorkerLostError(
            f"{settings.workers} workers were expected to finish a first step within "
            f"train.start_timeout_s={settings.start_timeout_s} s; the workers' log is {log}. {received}"
        )
    if told and all(beat.age_s > settings.stall_timeout_s for beat in told):
        step = max(beat.step for beat in told)
        expected = "a step was" if step < settings.steps else "the end of the training was"
        raise WorkerLostError(
            f"{expected} expected within train.stall_timeout_s={settings.stall_timeout_s} s after step {step:,}; "
            f"the workers' log is {log}. {received}"
        )
    return len(told) == len(beats)


def _copy_to_stderr(log: IO[str]) -> None:
    """Puts the end of the workers' log, 128 KiB, into this process's: a container keeps no other."""
    size = os.fstat(log.fileno()).st_size
    end = os.pread(log.fileno(), 2**17, max(0, size - 2**17))
    print(f"--- {log.name}\n{end.decode(errors='replace')}", file=sys.stderr, flush=True)


def _free_addresses(count: int) -> list[str]:
    """HOST:PORT on the loopback where nothing listens now; bound all at once, so that they differ."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
