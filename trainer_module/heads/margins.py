"""Margins: pure functions of the target's cosine."""

import math
from typing import Protocol

import tensorflow as tf


class Margin(Protocol):
    """A function that makes the target's logit smaller, so that training has to make its cosine larger."""

    def __call__(self, cosine: tf.Tensor, margin: tf.Tensor) -> tf.Tensor:
        """The target's logit before scaling: float32 [N] in [-1, 1] and a float32 scalar -> float32 [N]."""


def arcface(cosine: tf.Tensor, margin: tf.Tensor) -> tf.Tensor:
    """`cos(theta + m)`, an additive angular margin (Deng et al., CVPR 2019, arXiv:1801.07698).

    It is expanded as `cos(theta) cos(m) - sin(theta) sin(m)`. Where theta + m would pass pi, and the logit would rise
    again, the linear continuation `cos(theta) - m sin(pi - m)` of InsightFace takes its place.

    Args:
      cosine: float32 [N], of the angle theta to the target's centre.
      margin: m, float32 scalar in radians.

    Returns:
      float32 [N].
    """
    # 1e-9 keeps the square root's gradient finite where an embedding lies on its centre.
    sine = tf.sqrt(tf.maximum(1.0 - tf.square(cosine), 1e-9))
    return tf.where(
        cosine > tf.cos(math.pi - margin),
        cosine * tf.cos(margin) - sine * tf.sin(margin),
        cosine - margin * tf.sin(math.pi - margin),
    )
