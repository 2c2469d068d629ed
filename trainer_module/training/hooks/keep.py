"""Checkpoints: the one that a training ends with, and those that it goes on from when it was stopped."""

import time

import tensorflow as tf

from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints, resumption
from trainer_module.training.curve import Curve
from trainer_module.training.hooks import Metrics
from trainer_module.training.hooks.finite import check_finite
from trainer_module.training.state import TrainState

SECONDS_BETWEEN_CHECKPOINTS = 600.0


class KeepResult:
    """Writes the checkpoint of the whole training. Batch-norm statistics are spread over the workers: all take part."""

    every, collective = 0, True

    def __init__(self, run_dir: str, *, is_chief: bool) -> None:
        """Keeps where to write.

        Args:
          run_dir: receives `checkpoint/`.
          is_chief: whether this process's copy is kept.
        """
        self._run_dir, self._is_chief = run_dir, is_chief

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Writes it."""
        checkpoints.write(state.checkpoint(), self._run_dir, self._is_chief)


class KeepProgress:
    """Writes a checkpoint every so many steps, or every ten minutes. All workers take part, at the same step."""

    collective = True

    def __init__(
        self, strategy: tf.distribute.Strategy, curve: Curve, work_dir: str, settings: TrainSettings, *, is_chief: bool
    ) -> None:
        """Keeps where and when to write.

        Args:
          strategy: what the variables were made under.
          curve: of the training.
          work_dir: see `resumption`.
          settings: `checkpoint_every`; where that is 0, all look at the time together each `log_every` steps.
          is_chief: whether this process's copy is kept.
        """
        self.every = settings.checkpoint_every or settings.log_every
        self._by_time = not settings.checkpoint_every
        self._strategy, self._curve, self._work_dir = strategy, curve, work_dir
        self._last, self._is_chief = settings.steps, is_chief
        self._written_at = time.monotonic()

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Writes it, if it is time."""
        if step < self._last and (not self._by_time or self._is_time()):
            self.write(step, state, metrics)

    def write(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Writes it.

        Raises:
          FloatingPointError: there is nothing good to keep.
        """
        check_finite(step, state, metrics)
        resumption.save(state, self._curve, self._work_dir, step, is_chief=self._is_chief)
        self._written_at = time.monotonic()

    def _is_time(self) -> bool:
        """Whether the chief's clock says so: the same answer for all workers, whose clocks differ."""
        due = self._is_chief and time.monotonic() - self._written_at >= SECONDS_BETWEEN_CHECKPOINTS
        if self._strategy.num_replicas_in_sync == 1:
            return due
        told = self._strategy.run(tf.identity, args=(tf.constant(float(due)),))
        return bool(self._strategy.reduce("sum", told, axis=None) > 0)
