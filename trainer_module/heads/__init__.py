"""Heads: what turns embeddings and classes into a loss. A head is a margin (`margins`) over class centres.

`full` compares each image with all classes, `sampled` with its own and a share of the others. `sharded` does either
with centres that are split over the replicas.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf


class HeadLoss(NamedTuple):
    """What a head makes of a batch.

    Attributes:
      losses: of each image, float32 [N].
      hits: whether the nearest centre, without a margin, is the image's own, bool [N].
      decayed: the centres that took part, which weight decay takes.
    """

    losses: tf.Tensor
    hits: tf.Tensor
    decayed: tf.Tensor


class Head(Protocol):
    """The class centres of a training and the loss over them. Nobody else sees a matrix of [N, classes].

    Attributes:
      classes: C, how many there are.
    """

    classes: int

    @property
    def trainable_variables(self) -> Sequence[tf.Variable]:
        """The class centres, which the optimizer trains."""

    @property
    def shards(self) -> Sequence[tf.Variable]:
        """Those of which each replica has other rows: what it finds as their gradient is whole. See `heads.shards`."""

    def whole_centres(self) -> np.ndarray:
        """The centres of all classes, on the host: float32 [C, K, D]. Outside of replicas; each worker asks."""

    def take_centres(self, centres: np.ndarray) -> None:
        """Takes the centres of all classes, float32 [C, K, D]. Outside of replicas; each worker gives the same."""

    def begin_at(self, directions: np.ndarray) -> None:
        """Puts the centres of each class at its direction, before the first step.

        Args:
          directions: float32 [C, D], of length 1.
        """

    def loss(self, embeddings: tf.Tensor, class_index: tf.Tensor, margin: tf.Tensor, step: tf.Tensor) -> HeadLoss:
        """The loss of a batch.

        Args:
          embeddings: [N, D], of any length.
          class_index: int64 [N].
          margin: float32 scalar.
          step: int64 scalar, of the optimizer: what a head draws goes by it.
        """

    def nearest(self, embeddings: tf.Tensor) -> tf.Tensor:
        """The class of the nearest centre: [N, D] -> int64 [N]."""
