"""What is judged while training: held-out images of the identities that are trained on, and verification sets."""

import tensorflow as tf

from arcface_common.run_log import note
from trainer_module.data.holdout import HoldoutEvaluation
from trainer_module.training.best import BestCheckpoint
from trainer_module.training.curve import Curve
from trainer_module.training.hooks import Metrics
from trainer_module.training.hooks.tell import Show
from trainer_module.training.state import TrainState
from trainer_module.training.verification import Results, Verification, in_words, mean_accuracy, write_verified


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


class JudgeSets:
    """Judges the network by verification sets, tells what it came to, and keeps it in `verified.json`.

    The chief judges, while other workers wait for it in their next step.
    """

    collective = True

    def __init__(
        self,
        every: int,
        verification: Verification | None,
        show: Show,
        run_dir: str,
        best: BestCheckpoint | None = None,
    ) -> None:
        """Judges each `every` steps.

        Args:
          every: see `Hook`.
          verification: what judges; None in workers other than the chief.
          show: puts a figure on the progress bar.
          run_dir: receives `verified.json`.
          best: is offered each state that was judged; None keeps none.
        """
        self.every = every
        self._verification, self._show, self._run_dir, self._best = verification, show, run_dir, best

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Judges."""
        # Of statistics that each worker has a share of, reading the mean is a collective operation.
        weights = [tf.convert_to_tensor(variable) for variable in state.backbone.variables]
        results = self._tell(step, self._verification.judge(weights)) if self._verification else None
        if self._best:
            self._best.offer(step, state, results)

    def _tell(self, step: int, results: Results) -> Results:
        """Tells and writes the figures."""
        for name, result in results.items():
            for figure in ("accuracy", "xnorm"):
                if (value := getattr(result, figure)) is not None:
                    tf.summary.scalar(f"verification/{name}_{figure}", value, step=step)
        mean = mean_accuracy(results)
        self._show("verified", "-" if mean is None else f"{mean:.4f}")
        note(f"    step {step:,}: verified {in_words(results)}")
        write_verified(results, step, self._run_dir)
        return results
