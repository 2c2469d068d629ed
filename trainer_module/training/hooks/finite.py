"""The watch for numbers that are none."""

import math

from trainer_module.training.hooks import Metrics
from trainer_module.training.state import TrainState


class Finite:
    """Ends a training whose loss or gradient is no longer finite. All workers see the same, and so end alike."""

    collective = True

    def __init__(self, every: int) -> None:
        """Looks each `every` steps."""
        self.every = every

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Looks at a step's metrics.

        Raises:
          FloatingPointError: see `check_finite`.
        """
        check_finite(step, state, metrics)


def check_finite(step: int, state: TrainState, metrics: Metrics) -> None:
    """Checks that a step had a finite loss and left finite weights, as far as its gradient tells.

    Raises:
      FloatingPointError: loss or gradient norm are infinite or NaN.
    """
    loss, gradient_norm, scale = (metrics.values[name] for name in ("loss", "gradient_norm", "loss_scale"))
    # A gradient that overflows is skipped while there is a scale to halve; at 1 nothing would end the skipping.
    if math.isfinite(loss) and (math.isfinite(gradient_norm) or scale > 1.0):
        return
    raise FloatingPointError(
        "expected a finite loss and gradient; try a lower train.learning_rate, a longer train.warmup_steps or "
        f"train.clip_norm. Received: loss={loss:.4g}, gradient_norm={gradient_norm:.4g} at step {step:,}, learning "
        f"rate {float(state.optimizer.learning_rate):.4g}"
    )
