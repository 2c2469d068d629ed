"""The Beam step that writes shards."""

import os
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from arcface_common.console import progress
from components.record_example_gen.plan import ShardTask
from components.record_example_gen.shards import ShardJob
from components.record_example_gen.writer import write_in_processes

_SMALL = 64 << 20  # bytes of RecordIO, 0.1 s of work: as long as a process takes to start


def writer_processes(beam_args: Sequence[str], rec_bytes: int) -> int:
    """How many processes a Beam worker writes with: 0 is itself. One a core where it is alone."""
    options = PipelineOptions(list(beam_args))
    runner = options.view_as(StandardOptions).runner or "FnApiRunner"
    direct = options.view_as(DirectOptions)
    alone = direct.direct_running_mode == "in_memory" and runner.rpartition(".")[2] in ("FnApiRunner", "DirectRunner")
    cores = len(os.sched_getaffinity(0))
    return cores if alone and cores > 1 and rec_bytes > _SMALL else 0


class WriteShards(beam.DoFn):
    """Writes the shards of a bundle. It yields nothing: `ShardStore` knows what is finished, and what failed."""

    def __init__(self, job: ShardJob, processes: int) -> None:
        """Keeps what a worker needs.

        Args:
          job: of the plan.
          processes: how many to write with; 0 writes in this one.
        """
        self._job = job
        self._processes = processes

    def start_bundle(self) -> None:
        """Nothing to write yet."""
        self._tasks: list[ShardTask] = []

    def process(self, task: ShardTask) -> None:
        """Notes a shard: the bundle's are written together."""
        self._tasks.append(task)

    def finish_bundle(self) -> None:
        """Writes the shards."""
        records = sum(task.end - task.begin for task in self._tasks)
        with progress(total=records, description="ingest", unit="img") as bar:
            if self._processes:
                for written in write_in_processes(self._job, self._tasks, self._processes):
                    bar.update(written)
                return
            for task in self._tasks:
                self._job.write(task)
                bar.update(task.end - task.begin)
