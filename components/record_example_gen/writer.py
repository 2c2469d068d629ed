"""A process that writes shards: `python -m components.record_example_gen.writer`, with its job on standard input.

A Beam worker imports TFX, 0.9 GB, and runs Python on one core. This imports neither Beam nor TensorFlow: 50 MB.
"""

import gc
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence

from components.record_example_gen.plan import ShardTask
from components.record_example_gen.shards import ShardJob
from trainer_module.processes import die_with_parent


def write_in_process(job: ShardJob, tasks: Sequence[ShardTask]) -> Iterator[str | None]:
    """Writes shards in a new process, which ends with this one.

    Args:
      job: of the plan.
      tasks: the shards.

    Yields:
      For each shard in order, as soon as it is written: what `ShardJob.write` returns.

    Raises:
      RuntimeError: the process ended badly.
    """
    command = [sys.executable, "-m", "components.record_example_gen.writer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(pickle.dumps((job, tasks)))
        process.stdin.close()
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise RuntimeError(f"expected a writer to end with code 0. Received: code {process.returncode}")


def main() -> None:
    """Writes the shards that standard input asks for, and says so on standard output, a line each."""
    die_with_parent()
    gc.disable()  # a record leaves no cycles, and looking for them takes 3 % of the time
    job, tasks = pickle.load(sys.stdin.buffer)
    for task in tasks:
        print(json.dumps(job.write(task)), flush=True)


if __name__ == "__main__":
    main()
