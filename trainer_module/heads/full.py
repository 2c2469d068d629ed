"""The full head: every image is compared with every class centre."""

import tensorflow as tf

from trainer_module.heads.margins import Margin, arcface

_INITIAL_STDDEV = 0.01  # InsightFace draws the class centres from N(0, 0.01); only their directions count


class FullCentres(tf.Module):
    """Class centres on the unit sphere, and the softmax over `s * cos(theta)` of all with a margin on the target.

    Memory: weights float32 [embedding_dim, classes], 512 x 85,742 x 4 B = 176 MB, the same again for momentum; logits
    [batch, classes], 512 x 85,742 x 4 B = 176 MB.

    Example:
      >>> head = FullCentres(2, 3)
      >>> _ = head.centres.assign([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
      >>> losses, hits = head.loss(tf.constant([[9.0, 1.0]]), tf.constant([0], tf.int64), tf.constant(0.5))
      >>> hits.numpy().tolist(), head.nearest(tf.constant([[-3.0, 1.0]])).numpy().tolist()
      ([True], [2])
    """

    def __init__(
        self, embedding_dim: int, classes: int, scale: float = 64.0, seed: int = 1, margin: Margin = arcface
    ) -> None:
        """Makes the class centres.

        Args:
          embedding_dim: D.
          classes: C, the number of identities in the training data; at least 2.
          scale: s, the radius.
          seed: of the initial centres.
          margin: what makes the target's logit smaller.

        Raises:
          ValueError: fewer than 2 classes, which leaves nothing to tell apart.
        """
        super().__init__(name="head")
        if classes < 2:
            raise ValueError(f"classes must be at least 2. Received: classes={classes}")
        self._scale, self._margin = scale, margin
        initial = tf.random.stateless_normal([embedding_dim, classes], [seed, 0], stddev=_INITIAL_STDDEV)
        self.centres = tf.Variable(initial, name="centres")

    def loss(self, embeddings: tf.Tensor, class_index: tf.Tensor, margin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Head`. The loss is the softmax cross-entropy."""
        cosines = self._cosines(embeddings)
        rows = tf.stack([tf.range(tf.shape(class_index, out_type=tf.int64)[0]), class_index], axis=1)
        with_margin = self._margin(tf.gather_nd(cosines, rows), margin)
        logits = self._scale * tf.tensor_scatter_nd_update(cosines, rows, with_margin)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(class_index, logits)
        return losses, tf.equal(tf.argmax(cosines, axis=1), class_index)

    def nearest(self, embeddings: tf.Tensor) -> tf.Tensor:
        """See `Head`."""
        return tf.argmax(self._cosines(embeddings), axis=1)

    def _cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """float32 [N, D] -> float32 [N, C], in [-1, 1]."""
        return tf.matmul(tf.math.l2_normalize(embeddings, axis=1), tf.math.l2_normalize(self.centres, axis=0))
