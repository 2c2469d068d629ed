"""ArcFace: an additive angular margin on the target class (Deng et al., CVPR 2019, arXiv:1801.07698)."""

import math

import tensorflow as tf

_GLOROT_LIKE_STDDEV = 0.01  # InsightFace draws the class centres from N(0, 0.01); only their directions count


class ArcFace(tf.Module):
    """Class centres on the unit sphere and the logits `s * cos(theta + m)` for the target, `s * cos(theta)` elsewhere.

    `cos(theta + m)` is expanded as `cos(theta) cos(m) - sin(theta) sin(m)`; where theta + m would pass pi, and the
    logit would rise again, the linear continuation `cos(theta) - m sin(pi - m)` of InsightFace takes its place.

    Memory: weights float32 [embedding_dim, classes], 512 x 85,742 x 4 B = 176 MB, the same again for momentum; logits
    [batch, classes], 512 x 85,742 x 4 B = 176 MB.
    """

    def __init__(self, embedding_dim: int, classes: int, scale: float = 64.0, seed: int = 1) -> None:
        """Makes the class centres.

        Args:
          embedding_dim: D.
          classes: C, the number of identities in the training data; at least 2.
          scale: s, the radius.
          seed: of the initial centres.

        Raises:
          ValueError: fewer than 2 classes, which leaves nothing to tell apart.
        """
        super().__init__(name="arcface")
        if classes < 2:
            raise ValueError(f"classes must be at least 2. Received: classes={classes}")
        self.scale = scale
        initial = tf.random.stateless_normal([embedding_dim, classes], [seed, 0], stddev=_GLOROT_LIKE_STDDEV)
        self.centres = tf.Variable(initial, name="centres")

    def cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Cosine of every embedding to every class centre: float32 [N, D] -> float32 [N, C], in [-1, 1]."""
        return tf.matmul(tf.math.l2_normalize(embeddings, axis=1), tf.math.l2_normalize(self.centres, axis=0))

    def logits(self, cosines: tf.Tensor, class_index: tf.Tensor, margin: tf.Tensor) -> tf.Tensor:
        """Applies the margin to the target class, and the scale to all.

        Args:
          cosines: float32 [N, C].
          class_index: int64 [N].
          margin: m, float32 scalar in radians.

        Returns:
          float32 [N, C].
        """
        rows = tf.stack([tf.range(tf.shape(class_index, out_type=tf.int64)[0]), class_index], axis=1)
        target = tf.gather_nd(cosines, rows)
        # 1e-9 keeps the square root's gradient finite where an embedding lies on its centre.
        sine = tf.sqrt(tf.maximum(1.0 - tf.square(target), 1e-9))
        with_margin = tf.where(
            target > tf.cos(math.pi - margin),
            target * tf.cos(margin) - sine * tf.sin(margin),
            target - margin * tf.sin(math.pi - margin),
        )
        return self.scale * tf.tensor_scatter_nd_update(cosines, rows, with_margin)
