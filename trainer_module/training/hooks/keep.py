"""Checkpoints: the one that a training ends with, and those that it goes on from when it was stopped."""

import time

import tensorflow as tf

from arcface_common.console import say
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints, resumption
from trainer_module.training.background import BackgroundWriter
from trainer_module.training.best import BestCheckpoint
from trainer_module.training.curve import Curve
from trainer_module.training.hooks import Metrics
from trainer_module.training.hooks.finite import Finite
from trainer_module.training.state import TrainState
from trainer_module.workers.distribution import agreed

SECONDS_BETWEEN_CHECKPOINTS = 600.0


class KeepResult:
    """Writes the checkpoint of the whole training. Batch-norm statistics are spread over the workers: all take part."""

    every, collective = 0, True

    def __init__(self, run_dir: str, writer: BackgroundWriter, best: BestCheckpoint | None, *, is_chief: bool) -> None:
        """Keeps where to write.

        Args:
          run_dir: receives `checkpoint/`.
          writer: writes it where the state is split over replicas.
          best: the best of the training, where that is asked for in place of the last.
          is_chief: whether this process's copy is kept.
        """
        self._run_dir, self._writer, self._best, self._is_chief = run_dir, writer, best, is_chief

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Writes it."""
        if state.head.shards:
            self._writer.write(state, lambda copy: checkpoints.write(copy.checkpoint(), self._run_dir, is_chief=True))
            self._writer.wait()
        else:
            checkpoints.write(state.checkpoint(), self._run_dir, self._is_chief)
        if self._best and self._is_chief and not self._best.hand_over(self._run_dir):
            say("WARNING kept is the last checkpoint: verification came to no accuracy, so that there is no best")


class KeepProgress:
    """Writes a checkpoint every so many steps, or every ten minutes. All workers take part, at the same step."""

    collective = True

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        writer: BackgroundWriter,
        finite: Finite,
        curve: Curve,
        work_dir: str,
        settings: TrainSettings,
        *,
        is_chief: bool,
    ) -> None:
        """Keeps where and when to write.

        Args:
          strategy: what the variables were made under.
          writer: writes it while training goes on.
          finite: says whether there is anything good to keep.
          curve: of the training.
          work_dir: see `resumption`.
          settings: `checkpoint_every`; where that is 0, all look at the time together each `log_every` steps.
          is_chief: whether this process's copy is kept.
        """
        self.every = settings.checkpoint_every or settings.log_every
        self._by_time = not settings.checkpoint_every
        self._strategy, self._writer, self._finite = strategy, writer, finite
        self._curve, self._work_dir = curve, work_dir
        self._last, self._is_chief = settings.steps, is_chief
        self._written_at = time.monotonic()

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Writes it, if it is time."""
        self._writer.check()
        if step < self._last and (not self._by_time or self._is_time()):
            self.write(step, state, metrics)

    def write(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Begins to write it.

        Raises:
          FloatingPointError: there is nothing good to keep.
          DataError: the one before couldn't be written.
        """
        self._finite(step, state, metrics)
        curve = self._curve.to_csv()
        self._writer.write(state, lambda copy: resumption.save(copy, curve, self._work_dir, step))
        self._written_at = time.monotonic()

    def _is_time(self) -> bool:
        """Whether the chief's clock says so: the same answer for all workers, whose clocks differ."""
        due = self._is_chief and time.monotonic() - self._written_at >= SECONDS_BETWEEN_CHECKPOINTS
        return agreed(self._strategy, due)
