"""Optimizers, and which variables a weight decay takes."""

import tensorflow as tf
import tf_keras

from trainer_module.heads import Head
from trainer_module.optimization.schedules import learning_rate
from trainer_module.settings import TrainSettings


def create_optimizer(settings: TrainSettings, backbone: tf_keras.Model, head: Head) -> tf_keras.optimizers.Optimizer:
    """The optimizer of a training, its slots made and empty."""
    clip_norm = settings.clip_norm or None
    rate = learning_rate(settings)
    if settings.optimizer == "adamw":
        optimizer = tf_keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, global_clipnorm=clip_norm)
        taken = {id(v) for v in decayed(backbone, head)}
        optimizer.exclude_from_weight_decay([v for v in backbone.trainable_variables if id(v) not in taken])
    else:
        optimizer = tf_keras.optimizers.SGD(rate, momentum=settings.momentum, global_clipnorm=clip_norm)
    optimizer.build([*backbone.trainable_variables, *head.trainable_variables])
    return optimizer


def decayed(backbone: tf_keras.Model, head: Head) -> list[tf.Variable]:
    """Kernels alone: decaying a bias, a batch-norm's gamma or a PReLU's slope only costs accuracy (He et al., 2019)."""
    kernels = [v for v in backbone.trainable_variables if "kernel" in v.name.rsplit("/", 1)[-1]]
    return [*kernels, *head.trainable_variables]
