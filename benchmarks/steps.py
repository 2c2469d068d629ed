"""Our training step on data of a benchmark's choice, made as the Trainer makes it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainer_module.settings import TrainSettings
from trainer_module.training.state import create_state
from trainer_module.training.step import make_train_step


def random_batches(batch: int, classes: int) -> tf.data.Dataset:
    """One batch of random pixels and classes, from memory, again and again."""
    random = np.random.default_rng(1)
    pixels = tf.constant(random.integers(0, 256, (batch, 112, 112, 3), dtype=np.uint8))
    indices = tf.constant(random.integers(0, classes, batch, dtype=np.int64))
    return tf.data.Dataset.from_tensors((pixels, indices, tf.zeros([batch], tf.bool))).repeat()


def steps(classes: int, batches: tf.data.Dataset, **settings: Any) -> Callable[[], object]:
    """A step as a call; its metrics are read, as hooks do."""
    told = TrainSettings(steps=1000, warmup_steps=0, **settings)
    step = make_train_step(tf.distribute.get_strategy(), create_state(told, classes), told)
    iterator = iter(batches)
    return lambda: [value.numpy() for value in step(iterator).values()]
