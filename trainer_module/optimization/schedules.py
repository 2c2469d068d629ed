"""What changes from step to step: the learning rate and the margin."""

import math
from typing import Any

import tensorflow as tf
import tf_keras

from trainer_module.settings import TrainSettings


def learning_rate(settings: TrainSettings) -> "WarmupCosine":
    """The learning rate's schedule."""
    return WarmupCosine(settings.learning_rate, settings.warmup_steps, settings.steps)


class WarmupCosine(tf_keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0 to the peak, then a half cosine to 0 (Loshchilov & Hutter, arXiv:1608.03983)."""

    def __init__(self, peak: float, warmup_steps: int, steps: int) -> None:
        """Keeps the three numbers.

        Args:
          peak: learning rate at the end of the warm-up.
          warmup_steps: steps of the linear part.
          steps: steps in all.
        """
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.steps = steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate of a step, float32 scalar."""
        done = tf.cast(step, tf.float32)
        warmup = (done + 1.0) / max(self.warmup_steps, 1)
        rest = tf.clip_by_value((done - self.warmup_steps) / max(self.steps - self.warmup_steps, 1), 0.0, 1.0)
        return self.peak * tf.where(done < self.warmup_steps, warmup, 0.5 * (1.0 + tf.cos(math.pi * rest)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "steps": self.steps}


def margin_at(step: tf.Tensor, margin: float, warmup_steps: int) -> tf.Tensor:
    """The margin of a step: linear from 0 over `warmup_steps`, then constant; float32 scalar in radians."""
    if not warmup_steps:
        return tf.constant(margin, tf.float32)
    return margin * tf.minimum(tf.cast(step, tf.float32) / warmup_steps, 1.0)
