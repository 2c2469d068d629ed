"""What changes from step to step: the learning rate and the margin."""

import math

import tensorflow as tf
import tf_keras

from trainer_module.settings import TrainSettings


class LearningRate(tf_keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0 to the peak, then what `train.schedule` names.

    - cosine: half a cosine to 0 (Loshchilov & Hutter, arXiv:1608.03983).
    - step: the peak times `train.decay_factor` for each milestone behind, as the original project and InsightFace do.
    - polynomial: the peak times (1 - t)^power, t from 0 to 1 between warm-up and end, as arcface_torch does.
    """

    def __init__(self, settings: TrainSettings) -> None:
        """Keeps what to go by."""
        self._settings = settings

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate after so many steps, float32 scalar."""
        settings, done = self._settings, tf.cast(step, tf.float32)
        warmup = (done + 1.0) / max(settings.warmup_steps, 1)
        return settings.learning_rate * tf.where(done < settings.warmup_steps, warmup, self._share(step))

    def _share(self, step: tf.Tensor) -> tf.Tensor:
        """The share of the peak after the warm-up."""
        settings = self._settings
        if settings.schedule == "step":
            behind = tf.cast(step, tf.int64) >= tf.constant(settings.milestones, tf.int64)
            return settings.decay_factor ** tf.reduce_sum(tf.cast(behind, tf.float32))
        rest = (tf.cast(step, tf.float32) - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
        rest = tf.clip_by_value(rest, 0.0, 1.0)
        if settings.schedule == "polynomial":
            return (1.0 - rest) ** settings.power
        return 0.5 * (1.0 + tf.cos(math.pi * rest))


def margin_at(step: tf.Tensor, margin: float, warmup_steps: int) -> tf.Tensor:
    """The margin of a step: linear from 0 over `warmup_steps`, then constant; float32 scalar in radians."""
    if not warmup_steps:
        return tf.constant(margin, tf.float32)
    return margin * tf.minimum(tf.cast(step, tf.float32) / warmup_steps, 1.0)
