"""The Beam step that writes shards."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from components.record_example_gen.plan import ShardTask
from components.record_example_gen.shards import ShardJob
from components.record_example_gen.writer import write_in_process
from trainer_module.console import progress

_FEW = 20_000  # records, 0.2 s of work: as long as a process takes to start


def writers_per_worker(beam_args: Sequence[str]) -> int:
    """How many processes a Beam worker writes with: one a core where there is one worker, else none but itself."""
    options = PipelineOptions(list(beam_args))
    runner = options.view_as(StandardOptions).runner or "FnApiRunner"
    direct = options.view_as(DirectOptions)
    alone = direct.direct_running_mode == "in_memory" and runner.rpartition(".")[2] in ("FnApiRunner", "DirectRunner")
    return len(os.sched_getaffinity(0)) if alone else 1


@dataclasses.dataclass(frozen=True)
class ShardSummary:
    """What a worker says of its shards: the first bad record of each that failed for one."""

    errors: tuple[str, ...] = ()

    @staticmethod
    def merge(summaries: Iterable["ShardSummary"]) -> "ShardSummary":
        """The sum of any number of summaries, in any order."""
        return ShardSummary(tuple(sorted(error for part in summaries for error in part.errors)))


class WriteShards(beam.DoFn):
    """Writes the shards of a bundle; yields a ShardSummary."""

    def __init__(self, job: ShardJob, writers: int) -> None:
        """Keeps what a worker needs.

        Args:
          job: of the plan.
          writers: processes to write with; 1 writes in this one.
        """
        self._job = job
        self._writers = writers

    def start_bundle(self) -> None:
        """Nothing to write yet."""
        self._tasks: list[ShardTask] = []

    def process(self, task: ShardTask) -> None:
        """Notes a shard: the bundle's are written together."""
        self._tasks.append(task)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Writes the shards."""
        records = sum(task.end - task.begin for task in self._tasks)
        writers = self._writers if records > _FEW else 1
        with progress(total=records, description="ingest", unit="img") as bar:

            def write(tasks: list[ShardTask]) -> list[str]:
                inside = writers == 1
                errors = map(self._job.write, tasks) if inside else write_in_process(self._job, tasks)
                found = []
                for task, error in zip(tasks, errors, strict=True):
                    bar.update(task.end - task.begin)
                    found += [error] if error else []
                return found

            # Every n-th shard each, so that the last ones, which may be small ones of another split, are shared out.
            parts = [self._tasks[first::writers] for first in range(writers)]
            with concurrent.futures.ThreadPoolExecutor(writers) as pool:
                errors = [error for found in pool.map(write, filter(None, parts)) for error in found]
        yield WindowedValue(ShardSummary(tuple(errors)), 0, [GlobalWindow()])
