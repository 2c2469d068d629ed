"""What augmentation makes of the first images, for people to look at in TensorBoard."""

import dataclasses

import tensorflow as tf

from trainer_module.augmentation_facts import AUGMENTATIONS
from trainer_module.data.augmentation import NUMBERS, augment
from trainer_module.data.input_pipeline import training_batches
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings

_IMAGES = 8


def show_augmentation(split: Split, settings: TrainSettings) -> None:
    """Adds one image, `augmentation`, to TensorBoard: a row of faces as they are, and one of each augmentation."""
    pixels, *_ = next(iter(training_batches(split, dataclasses.replace(settings, augment={}))))
    pixels = pixels[:_IMAGES]
    draws = tf.random.stateless_uniform([pixels.shape[0], len(AUGMENTATIONS), NUMBERS], [settings.seed, 0])
    names = [name for name in AUGMENTATIONS if settings.augment.get(name)]
    rows = [pixels, *(augment(pixels, draws, {name: 1.0}) for name in names)]
    grid = tf.concat([tf.concat(tf.unstack(row), axis=1) for row in rows], axis=0)
    words = f"Rows: as they are, {', '.join(names)}. Each image is augmented here; in training it is drawn which."
    tf.summary.image("augmentation", grid[tf.newaxis], step=0, description=words)
