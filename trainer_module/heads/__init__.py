"""Heads: what turns embeddings and classes into a loss. A head is a margin (`margins`) over class centres (`full`)."""

from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf


class Head(Protocol):
    """The class centres of a training and the loss over them. Nobody else sees a matrix of [N, classes]."""

    @property
    def trainable_variables(self) -> Sequence[tf.Variable]:
        """The class centres, which the optimizer trains and weight decay takes."""

    def loss(self, embeddings: tf.Tensor, class_index: tf.Tensor, margin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss of each image, and whether the nearest centre without margin is its own.

        Args:
          embeddings: float32 [N, D], of any length.
          class_index: int64 [N].
          margin: float32 scalar.

        Returns:
          Losses, float32 [N], and hits, bool [N].
        """

    def nearest(self, embeddings: tf.Tensor) -> tf.Tensor:
        """The class of the nearest centre: float32 [N, D] -> int64 [N]."""
