"""Closed-set accuracy while training: how many held-out images of the training identities find their class."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tf_keras

from arcface_common import filesystem
from arcface_common.console import progress
from arcface_common.features import PixelFormat
from trainer_module.data.images import to_input
from trainer_module.data.input_pipeline import holdout_batches, images_that_decode
from trainer_module.data.split import Split
from trainer_module.heads import Head
from trainer_module.settings import TrainSettings

HOLDOUT_FILE = "holdout.json"  # beside the checkpoint


@dataclasses.dataclass(frozen=True)
class HoldoutResult:
    """What an evaluation came to.

    Attributes:
      accuracy: share of the images whose nearest class centre is that of their identity, 0..1, without margin and
        mirror; 0 where no image counts.
      images: how many; those whose identity isn't in the training data (quarantined records) don't count.
      step: optimizer steps that were done.
    """

    accuracy: float
    images: int
    step: int

    def write(self, run_dir: str) -> None:
        """Writes `holdout.json` aside, then renames it into place."""
        content = json.dumps(dataclasses.asdict(self), indent=2).encode()
        filesystem.write_file(os.path.join(run_dir, HOLDOUT_FILE), content, run_dir)


class HoldoutEvaluation:
    """Evaluates the whole hold-out split on all workers together.

    Every worker takes part in equally many steps of `strategy.run`. Batch-norm statistics that each replica keeps for
    itself are read inside the replica: reading them outside would be a collective operation.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        backbone: tf_keras.Model,
        head: Head,
        split: Split,
        settings: TrainSettings,
    ) -> None:
        """Counts the images and builds the input.

        Args:
          strategy: what the variables were made under.
          backbone: float32 [N, 112, 112, 3] -> float32 [N, D].
          head: the class centres.
          split: the hold-out split.
          settings: batch size and pixels.

        Raises:
          FileNotFoundError: no shard matches.
        """
        self._steps = math.ceil(sum(split.record_counts()) / settings.batch_size)
        self._batch_size = settings.batch_size
        batches = strategy.distribute_datasets_from_function(lambda context: holdout_batches(split, settings, context))
        self._iterator = iter(batches)
        self._step = _make_step(strategy, backbone, head, settings.pixel_format())
        self._latest: HoldoutResult | None = None

    def evaluate(self, step: int, show: bool) -> HoldoutResult:
        """One pass over the split; none where it has been judged after this step.

        Args:
          step: optimizer steps that were done.
          show: draw a progress bar.
        """
        if self._latest and self._latest.step == step:
            return self._latest
        total = tf.zeros([2])
        with progress(
            total=self._steps * self._batch_size, description="hold-out", unit="img", disable=not show
        ) as bar:
            for _ in range(self._steps):
                with images_that_decode():
                    total += self._step(self._iterator)
                bar.update(self._batch_size)
        hits, images = (int(value) for value in total.numpy())
        self._latest = HoldoutResult(hits / max(images, 1), images, step)
        return self._latest


def _make_step(
    strategy: tf.distribute.Strategy, backbone: tf_keras.Model, head: Head, pixel_format: PixelFormat
) -> Callable[[Iterator[Any]], tf.Tensor]:
    """A function of a distributed iterator that gives float32 (hits, images), summed over replicas."""

    def one_replica(pixels: tf.Tensor, class_index: tf.Tensor) -> tf.Tensor:
        nearest = head.nearest(backbone(to_input(pixels, pixel_format), training=False))
        counts = class_index >= 0
        hits = tf.logical_and(counts, tf.equal(nearest, class_index))
        # float32 is exact up to 2^24 = 16.8 million images, three times MS1M.
        return tf.reduce_sum(tf.cast(tf.stack([hits, counts]), tf.float32), axis=1)

    @tf.function
    def step(iterator: Iterator[Any]) -> tf.Tensor:
        return strategy.reduce("sum", strategy.run(one_replica, args=next(iterator)), axis=None)

    return step
