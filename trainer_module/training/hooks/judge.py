"""Closed-set accuracy on held-out images while training."""

import tensorflow as tf

from arcface_common.run_log import note
from trainer_module.data.holdout import HoldoutEvaluation
from trainer_module.training.curve import Curve
from trainer_module.training.hooks import Metrics
from trainer_module.training.hooks.tell import Show
from trainer_module.training.state import TrainState


class JudgeHoldout:
    """Evaluates the hold-out split, tells what it came to, and keeps the latest result in `holdout.json`."""

    collective = True

    def __init__(
        self, every: int, holdout: HoldoutEvaluation, curve: Curve, show: Show, run_dir: str, *, is_chief: bool
    ) -> None:
        """Evaluates each `every` steps.

        Args:
          every: see `Hook`.
          holdout: evaluates the split.
          curve: the results are added to it.
          show: puts a figure on the progress bar.
          run_dir: receives `holdout.json`.
          is_chief: whether this process tells and writes.
        """
        self.every = every
        self._holdout, self._curve, self._show = holdout, curve, show
        self._run_dir, self._is_chief = run_dir, is_chief

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Evaluates."""
        result = self._holdout.evaluate(step, show=self._is_chief)
        if not self._is_chief:
            return
        tf.summary.scalar("holdout_accuracy", result.accuracy, step=step)
        self._curve.holdout(step, result.accuracy)
        self._show("held-out top-1", f"{result.accuracy:.3f}")
        note(f"    step {step:,}: held-out top-1 {result.accuracy:.4f}")
        result.write(self._run_dir)
