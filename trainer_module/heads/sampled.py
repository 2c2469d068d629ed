"""The sampled head: every image is compared with its own class and a share of the others (Partial FC)."""

import math

import tensorflow as tf

from trainer_module.heads import HeadLoss
from trainer_module.heads.full import FullCentres, HeadOptions


class SampledCentres(FullCentres):
    """`FullCentres` that draws the classes of each step: all that the batch has, and others up to a share of all.

    A million identities at a share of 0.1 take the logits of 100,000, and only the drawn rows are trained: see
    `LayerwiseSGD`. `hits` are among the drawn classes. Source: An et al., Partial FC (CVPR 2022, arXiv:2203.15565).
    """

    def __init__(self, embedding_dim: int, classes: int, rate: float, options: HeadOptions = HeadOptions()) -> None:  # noqa: B008
        """Makes the class centres.

        Args:
          embedding_dim: D.
          classes: C.
          rate: share of the classes that a step draws, in (0, 1]; more where a batch alone has more.
          options: see there.
        """
        super().__init__(embedding_dim, classes, options)
        self._rate = rate

    def loss(self, embeddings: tf.Tensor, class_index: tf.Tensor, margin: tf.Tensor, step: tf.Tensor) -> HeadLoss:
        """See `Head`."""
        drawn = draw(self.classes, self._rate, class_index, self._options.seed, step)
        own = tf.searchsorted(drawn, class_index, out_type=tf.int64)
        return self._loss(embeddings, tf.gather(self.centres, drawn), own, margin)


def draw(classes: int, rate: float, class_index: tf.Tensor, seed: int, step: tf.Tensor) -> tf.Tensor:
    """The classes of a step, ascending: int64 [M].

    Args:
      classes: C.
      rate: share of them.
      class_index: those of the whole batch, which are drawn in any case, int64 [N].
      seed: of the training.
      step: of the optimizer.
    """
    positive, _ = tf.unique(class_index)
    scores = tf.random.stateless_uniform([classes], tf.stack([seed, tf.cast(step, tf.int32)]))
    scores = tf.tensor_scatter_nd_update(scores, positive[:, tf.newaxis], tf.fill([tf.size(positive)], 2.0))
    count = tf.maximum(math.ceil(rate * classes), tf.size(positive))
    return tf.sort(tf.cast(tf.math.top_k(scores, count, sorted=False).indices, tf.int64))
