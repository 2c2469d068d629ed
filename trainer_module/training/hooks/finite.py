"""The watch for numbers that are none."""

import math
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from arcface_common.run_log import note
from trainer_module.optimization.schedules import LearningRate
from trainer_module.settings import TrainSettings
from trainer_module.training.hooks import Metrics
from trainer_module.training.state import TrainState

_SHOWN = 8  # keys of records that the error names; the run's log has all


class Finite:
    """Ends a training whose loss or gradient is no longer finite. All workers see the same, and so end alike."""

    collective = True

    def __init__(self, settings: TrainSettings, records: Callable[[int], Sequence[int]]) -> None:
        """Looks each `settings.log_every` steps at all steps since.

        Args:
          settings: of the training.
          records: the keys of the records in a step's batch. They are asked for when a step is bad, and so cost
            nothing before: the order of the data says which they were.
        """
        self.every = settings.log_every
        self._settings, self._records = settings, records

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Looks at the metrics.

        Raises:
          FloatingPointError: loss or gradient norm are infinite or NaN; tells of the first step where they were.
        """
        first = step - len(metrics.history) + 1
        for number, values in enumerate(metrics.history, first):
            if not _is_fine(values):
                raise FloatingPointError(self._in_words(number, values))

    def _in_words(self, step: int, values: Mapping[str, float]) -> str:
        records = ", ".join(map(str, self._records(step)))
        note(f"records of step {step:,}, their keys in train.rec: {records}")
        few = records.split(", ")
        shown = ", ".join(few[:_SHOWN]) + (f" and {len(few) - _SHOWN:,} more, see the log" if len(few) > _SHOWN else "")
        rate = float(LearningRate(self._settings)(tf.constant(step - 1)))
        return (
            f"expected a finite loss and gradient; try {', '.join(self._remedies())}. Checkpoints of the steps before "
            f"are kept. Received: loss={values['loss']:.4g}, gradient_norm={values['gradient_norm']:.4g} at step "
            f"{step:,}, learning rate {rate:.4g}, records {shown}"
        )

    def _remedies(self) -> list[str]:
        """What to try, the likeliest first."""
        settings = self._settings
        found = ["a lower train.learning_rate", "a longer train.warmup_steps"]
        if not settings.clip_norm:
            found.append("train.clip_norm=5")
        if settings.full_margin() and not settings.margin_warmup_steps:
            found.append("train.margin_warmup_steps")
        if settings.precision == "mixed_float16":
            found.append("train.precision=mixed_bfloat16")
        return [*found, "a look at these records"]


def _is_fine(values: Mapping[str, float]) -> bool:
    """Whether a step had a finite loss and left finite weights, as far as its gradient tells."""
    # A gradient that overflows is skipped while there is a scale to halve; at 1 nothing would end the skipping.
    return math.isfinite(values["loss"]) and (math.isfinite(values["gradient_norm"]) or values["loss_scale"] > 1.0)
