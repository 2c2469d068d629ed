"""The sharded head: each replica compares the images of all with its share of the classes (Partial FC)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer_module.heads import HeadLoss
from trainer_module.heads.full import BLOCK, FullCentres, HeadOptions, initial_centres, with_targets
from trainer_module.heads.sampled import draw
from trainer_module.heads.shards import collected, everyones, own, own_sum, shard_rows, spread


class _Part(NamedTuple):
    """A replica's classes that take part in a step.

    Attributes:
      classes: ascending, int64 [M].
      centres: float32 [M, K, D].
      targets: where each image's target is, as far as it is here: int64 [T, 2] of image and column.
    """

    classes: tf.Tensor
    centres: tf.Tensor
    targets: tf.Tensor


class ShardedCentres(FullCentres):
    """`FullCentres`, or `SampledCentres` of a share, of which each of N replicas holds and trains a part of 1 / N.

    Replicas exchange embeddings [batch, D] and a few numbers an image in place of the gradient of all centres. What is
    drawn goes by seed, step and global batch, whatever N. Source: An et al., Partial FC (CVPR 2022, arXiv:2203.15565).

    Memory: a million classes of 512 are 2.0 GB, and momentum as much; on each of 8 replicas 0.5 GB in all.
    """

    def __init__(self, embedding_dim: int, classes: int, rate: float, options: HeadOptions) -> None:
        """Makes the class centres, under a strategy of several replicas.

        Args:
          embedding_dim: D.
          classes: C.
          rate: share of the classes that a step draws, as of `SampledCentres`; 1 takes all.
          options: see there.
        """
        super().__init__(embedding_dim, classes, options)
        self._rate = rate

    @property
    def shards(self) -> Sequence[tf.Variable]:
        """See `Head`."""
        return (self.centres,)

    def whole_centres(self) -> np.ndarray:
        """See `Head`."""
        whole = collected(self.centres, self.classes, kept=True)
        assert whole is not None
        return whole

    def take_centres(self, centres: np.ndarray) -> None:
        """See `Head`."""
        spread(self.centres, self.classes, lambda begin, end: centres[begin:end])

    def loss(self, embeddings: tf.Tensor, class_index: tf.Tensor, margin: tf.Tensor, step: tf.Tensor) -> HeadLoss:
        """See `Head`; in a replica. The images are the replica's own, and so is what is said of them."""
        options, embeddings = self._options, tf.cast(embeddings, tf.float32)
        everyones_index = everyones(class_index)
        part = self._part(everyones_index, step)
        norms = tf.sqrt(tf.reduce_sum(tf.square(embeddings), axis=1) + 1e-12)
        rows, centres = embeddings, part.centres
        if options.normalized:
            rows, centres = tf.math.l2_normalize(rows, axis=1), tf.math.l2_normalize(centres, axis=-1)
        found, cosines = with_targets(self._compare(everyones(rows), centres), part.targets)
        # Of each image one replica has the target, and the others say 0.
        image = part.targets[:, :1]
        cosine = own_sum(tf.scatter_nd(image, found, tf.shape(everyones_index, out_type=tf.int64)))
        target, logits = cosine, cosines
        if options.normalized:
            cosine = tf.clip_by_value(cosine, -1.0, 1.0)
            state = self._updated(cosine, norms)
            target = options.margin.target(cosine, norms, margin, state)
            everyones_target = everyones(target)
            others = options.margin.others(cosines, everyones_target, state)
            if options.ignored_from < 1.0:
                others = tf.where(cosines > options.ignored_from, 0.0, others)
            placed = tf.gather_nd(everyones_target, image)
            logits = options.scale * tf.tensor_scatter_nd_update(others, part.targets, placed)
            target = options.scale * target
        losses = _log_sum_exp(logits) - target
        if options.normalized:
            losses += options.margin.penalty(norms)
        nearest = _nearest_of_all(*_nearest(tf.stop_gradient(cosines), part.classes))
        return HeadLoss(losses, tf.equal(own(nearest), class_index), part.centres)

    def nearest(self, embeddings: tf.Tensor) -> tf.Tensor:
        """See `Head`; in a replica, all at once."""
        unit = everyones(tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=1))
        first, count = self._range()
        centres = tf.convert_to_tensor(self.centres)[:count]
        best, found = tf.fill([tf.shape(unit)[0]], -2.0), tf.zeros([tf.shape(unit)[0]], tf.int64)
        for begin in range(0, self.centres.shape[0], BLOCK):
            some = tf.math.l2_normalize(centres[begin : begin + BLOCK], axis=-1)
            classes = first + begin + tf.range(tf.shape(some, out_type=tf.int64)[0])
            cosine, nearest = _nearest(self._compare(unit, some), classes)
            found, best = tf.where(cosine > best, nearest, found), tf.maximum(cosine, best)
        return own(_nearest_of_all(best, found))

    def _create(self, shape: Sequence[int]) -> tf.Variable:
        self._shape = tuple(shape)
        rows = shard_rows(self.classes, tf.distribute.get_strategy().num_replicas_in_sync)
        variable = tf.Variable(tf.zeros([rows, *shape[1:]]), name="centres")
        spread(variable, self.classes, self._initial)
        return variable

    def _initial(self, begin: int, end: int) -> np.ndarray:
        drawn: np.ndarray = initial_centres(self._shape, self._options.seed, begin, end).numpy()
        return drawn

    def _range(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The replica's first class, and how many it has: int64 scalars."""
        rows = self.centres.shape[0]
        first = rows * tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64)
        return first, tf.clip_by_value(self.classes - first, 0, rows)

    def _part(self, class_index: tf.Tensor, step: tf.Tensor) -> _Part:
        """What takes part here, of the classes of all images, int64 [N]."""
        first, count = self._range()
        image = tf.where((class_index >= first) & (class_index < first + count))
        target = tf.gather_nd(class_index, image)
        if self._rate == 1.0:
            centres = tf.convert_to_tensor(self.centres)
            if centres.shape[0] * tf.distribute.get_strategy().num_replicas_in_sync > self.classes:
                centres = centres[:count]  # without what fills up the last ones
            return _Part(first + tf.range(count), centres, tf.stack([image[:, 0], target - first], axis=1))
        drawn = draw(self.classes, self._rate, class_index, self._options.seed, step)
        drawn = tf.boolean_mask(drawn, (drawn >= first) & (drawn < first + count))
        column = tf.searchsorted(drawn, target, out_type=tf.int64)
        return _Part(drawn, tf.gather(self.centres, drawn - first), tf.stack([image[:, 0], column], axis=1))


def _log_sum_exp(logits: tf.Tensor) -> tf.Tensor:
    """Over the classes of all replicas: float32 [replicas * N, M] -> of a replica's own images [N]."""
    fixed = tf.stop_gradient(logits)
    highest = tf.reduce_max(everyones(tf.reduce_max(fixed, axis=1)[tf.newaxis]), axis=0)
    return own(highest) + tf.math.log(own_sum(tf.reduce_sum(tf.exp(logits - highest[:, tf.newaxis]), axis=1)))


def _nearest(cosines: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The highest cosine of each row and its class: [N, M] and int64 [M] -> [N] and int64 [N]; of no classes -inf."""
    column = tf.cond(
        tf.size(classes) > 0,
        lambda: tf.gather(classes, tf.argmax(cosines, axis=1)),
        lambda: tf.zeros([tf.shape(cosines)[0]], tf.int64),
    )
    return tf.reduce_max(cosines, axis=1), column


def _nearest_of_all(cosine: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """The class of the highest cosine over all replicas, of equal ones the first: [N] and int64 [N] -> int64 [N]."""
    replica = tf.argmax(everyones(cosine[tf.newaxis]), axis=0)
    return tf.gather(tf.transpose(everyones(classes[tf.newaxis])), replica, batch_dims=1)
