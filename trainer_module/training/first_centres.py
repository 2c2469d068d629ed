"""The class centres of a network that is trained further: at first, the means of what it makes of each identity."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from arcface_common.console import progress
from trainer_module.data.images import to_input
from trainer_module.data.input_pipeline import holdout_batches, images_that_decode
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.training.state import TrainState


def begin_at_data(
    strategy: tf.distribute.Strategy,
    state: TrainState,
    split: Split,
    settings: TrainSettings,
    classes: int,
    *,
    show: bool,
) -> None:
    """Puts each class's centre where the backbone sees its images: one pass over them, as the exported model computes.

    Weights imprinted from embeddings: Qi, Brown & Lowe, CVPR 2018 (arXiv:1712.07136). Every worker calls this, and
    embeds a share.

    Args:
      strategy: what the variables were made under.
      state: its head is changed, its backbone is not.
      split: what is trained on; each class has an image in it.
      settings: of the training; the pass has the memory of a step.
      classes: how many there are.
      show: draw a progress bar.
    """
    settings = dataclasses.replace(settings, batch_size=settings.batch_size // settings.accumulate, accumulate=1)
    batches = iter(
        strategy.distribute_datasets_from_function(lambda context: holdout_batches(split, settings, context))
    )
    pixel_format = settings.pixel_format()

    def directions(pixels: tf.Tensor) -> tf.Tensor:
        embeddings = state.backbone(to_input(pixels, pixel_format), training=False)
        return tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=1)

    @tf.function
    def embedded(iterator: Iterator[Any]) -> tuple[tf.Tensor, tf.Tensor]:
        """Unit embeddings of a global batch, and their classes, on every worker."""
        pixels, class_index = next(iterator)
        return strategy.gather(strategy.run(directions, args=(pixels,)), axis=0), strategy.gather(class_index, axis=0)

    sums = np.zeros((classes, state.backbone.output_shape[-1]), np.float32)
    steps = math.ceil(sum(split.record_counts()) / settings.batch_size)
    with progress(total=steps * settings.batch_size, description="first centres", unit="img", disable=not show) as bar:
        for _ in range(steps):
            with images_that_decode():
                found, class_index = (tensor.numpy() for tensor in embedded(batches))
            counts = class_index >= 0  # the last batch is filled up
            np.add.at(sums, class_index[counts], found[counts])
            bar.update(settings.batch_size)
    with strategy.scope():
        state.head.begin_at(sums / np.linalg.norm(sums, axis=1, keepdims=True))
