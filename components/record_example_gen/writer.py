"""A process that writes shards: `python -m components.record_example_gen.writer`, with its job on standard input.

A Beam worker imports TFX, 0.9 GB, and runs Python on one core. This imports neither Beam nor TensorFlow, 50 MB, and
forks itself for the other cores.
"""

import contextlib
import gc
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence

from arcface_common.processes import die_with_parent
from components.record_example_gen.plan import ShardTask
from components.record_example_gen.shards import ShardJob

_ready: list[subprocess.Popen[bytes]] = []  # started and waiting for a job


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "components.record_example_gen.writer"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@contextlib.contextmanager
def started_ahead() -> Iterator[None]:
    """Starts a process for `write_in_processes`: its imports take 0.1 s, in which Beam can build its job.

    If nobody takes it, it ends with the body.
    """
    _ready.append(_start())
    try:
        yield
    finally:
        while _ready:
            _ready.pop().communicate()


def write_in_processes(job: ShardJob, tasks: Sequence[ShardTask], processes: int) -> Iterator[int]:
    """Writes shards in other processes, which end with this one.

    Args:
      job: of the plan.
      tasks: the shards.
      processes: how many.

    Yields:
      The number of records of a shard, as soon as `ShardJob.write` is done with it.

    Raises:
      OSError: a shard can't be written, for want of space, say.
      RuntimeError: a process ended badly.
    """
    with _ready.pop() if _ready else _start() as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(pickle.dumps((job, tasks, processes)))
        process.stdin.close()
        for said in map(json.loads, process.stdout):
            if isinstance(said, str):
                raise OSError(said)
            yield said
    if process.returncode:
        raise RuntimeError(f"expected the writers to end with code 0. Received: code {process.returncode}")


def _write(job: ShardJob, tasks: Sequence[ShardTask]) -> None:
    die_with_parent()
    gc.disable()  # a record leaves no cycles, and looking for them takes 3 % of the time
    for task in tasks:
        try:
            job.write(task)
        except OSError as error:
            _say(str(error))
            return
        _say(task.end - task.begin)


def _say(what: int | str) -> None:
    os.write(sys.stdout.fileno(), f"{json.dumps(what)}\n".encode())  # in one piece, whoever else writes there


def main() -> None:
    """Writes the shards that standard input asks for.

    A line of JSON on standard output says how many records a shard got, or what is wrong.
    """
    asked = sys.stdin.buffer.read()
    if not asked:  # started ahead, and not needed
        return
    job, tasks, processes = pickle.loads(asked)
    # Every n-th shard each, so that the last ones, which may be small ones of another split, are shared out.
    parts = [tasks[first::processes] for first in range(processes)]
    fork = multiprocessing.get_context("fork")
    others = [fork.Process(target=_write, args=(job, part)) for part in parts[1:]]
    for other in others:
        other.start()
    _write(job, parts[0])
    for other in others:
        other.join()
    # Taking the interpreter down would take 15 ms.
    os._exit(int(any(other.exitcode for other in others)))


if __name__ == "__main__":
    die_with_parent()
    main()
