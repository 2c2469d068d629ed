"""Batches of photos by Beam: names go through it, photos and crops never do."""

import threading
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from arcface_common import filesystem
from arcface_common.errors import DataError
from components.alignment.aligner import process_aligner
from components.alignment.job import AlignJob, Batch

_SECONDS, _REMOTE_SECONDS = 2.0, 30.0  # between two looks at what is finished


class AlignBatch(beam.DoFn):
    """Does batches. It yields nothing: what is finished, and what failed, is known by files."""

    def __init__(self, job: AlignJob) -> None:
        """Keeps what a worker needs."""
        self._job = job

    def setup(self) -> None:
        """Loads the detector, once a process."""
        with self._job.noting_failure():
            process_aligner(self._job.settings)

    def process(self, batch: Batch) -> None:
        """Does a batch, unless another one has shown that the detector is none."""
        if filesystem.exists(self._job.failed):
            return
        with self._job.noting_failure():
            self._job.write(batch, process_aligner(self._job.settings))


def run_by_beam(
    job: AlignJob, batches: Sequence[Batch], done: Callable[[int], object], beam_args: Sequence[str]
) -> None:
    """Does batches of a job by Beam.

    Args:
      job: the job; its folders are such that each worker reaches them.
      batches: those to do.
      done: is told, now and then, how many more photos are finished.
      beam_args: Beam's options.

    Raises:
      DataError: the settings name no detector, or a user's one gave what is no face.
      Exception: Beam's, around what went wrong in a worker.
    """
    filesystem.remove([job.failed])
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(job, batches, done, ended), daemon=True)
    watcher.start()  # Beam itself wants the main thread, for signals
    try:
        with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
            # Reshuffled, or a runner may fuse all into one worker.
            _ = pipeline | beam.Create(list(batches), reshuffle=True) | beam.ParDo(AlignBatch(job))
    finally:
        ended.set()
        watcher.join()
    if filesystem.exists(job.failed):
        raise DataError(filesystem.read_file(job.failed).decode())


def _watch(job: AlignJob, batches: Sequence[Batch], done: Callable[[int], object], ended: threading.Event) -> None:
    """Tells how many photos are finished, until all is over."""
    waiting = {job.part(batch): len(batch.names) for batch in batches}
    seconds = _SECONDS if filesystem.is_local(job.work) else _REMOTE_SECONDS
    over = False
    while not over:
        over = ended.wait(seconds)
        for part in waiting.keys() & set(filesystem.files_below(job.parts)):
            done(waiting.pop(part))
