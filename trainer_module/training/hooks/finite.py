"""The watch for a loss that is no number."""

import math

from trainer_module.training.hooks import Metrics
from trainer_module.training.state import TrainState


class FiniteLoss:
    """Ends a training whose loss is no longer finite. All workers see the same loss, and so end alike."""

    collective = True

    def __init__(self, every: int) -> None:
        """Looks each `every` steps."""
        self.every = every

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Looks at the loss.

        Raises:
          FloatingPointError: it is infinite or NaN.
        """
        loss = metrics.values["loss"]
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"expected a finite loss; try a lower train.learning_rate, a longer train.warmup_steps or "
                f"train.clip_norm. Received: loss={loss} at step {step}"
            )
