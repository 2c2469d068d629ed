"""Batches of photos by processes of this machine, each with a detector of its own."""

import multiprocessing
import os
from collections.abc import Callable, Sequence

from arcface_common.lasting_pool import lasting_pool
from components.alignment.aligner import process_aligner
from components.alignment.job import AlignJob, Batch


def run_in_processes(
    job: AlignJob, batches: Sequence[Batch], done: Callable[[int], object], processes: int = 0
) -> None:
    """Does batches of a job.

    Args:
      job: the job.
      batches: those to do.
      done: is told how many photos a batch held that is finished.
      processes: how many; 0 is one a core. One is this process itself.

    Raises:
      DataError: the settings name no detector, or a user's one gave what is no face.
      ProcessLostError: a process was killed.
    """
    processes = min(processes or len(os.sched_getaffinity(0)), len(batches))
    if processes <= 1:
        for batch in batches:
            done(_write((job, batch)))
        return
    left = (
        "Fewer --processes or a smaller --max-pixels take less memory. What is finished stays; the same command goes "
        "on with the rest"
    )
    # Forked, so that what is imported is there at once. Nothing here has started a thread of onnxruntime's.
    with lasting_pool(processes, multiprocessing.get_context("fork"), left) as pool:
        for photos in pool.map(_write, ((job, batch) for batch in batches)):
            done(photos)


def _write(task: tuple[AlignJob, Batch]) -> int:
    job, batch = task
    return job.write(batch, process_aligner(job.settings))
