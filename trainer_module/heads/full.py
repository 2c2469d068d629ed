"""The full head: every image is compared with every class."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer_module.heads import HeadLoss
from trainer_module.heads.margins import NormFace, State, create_margin

_INITIAL_STDDEV = 0.01  # InsightFace draws the class centres from N(0, 0.01); only their directions count
_PHILOX = 1  # TensorFlow's number of the algorithm
BLOCK = 1 << 16  # classes that `nearest` compares with at a time: 512 images x 65,536 x 4 B = 134 MB


@dataclasses.dataclass(frozen=True)
class HeadOptions:
    """What heads have in common.

    Attributes:
      scale: s, the radius of the hypersphere.
      margin: what makes the target's logit smaller.
      sub_centres: K centres a class, of which the nearest counts (Deng et al., ECCV 2020): images with a wrong label
        gather at a centre of their own.
      ignored_from: the cosine of other classes that is above this becomes 0 (InsightFace's interclass
        filtering): they may be the same person under another name. 1 leaves none out.
      normalized: False is the plain softmax over embeddings and centres as they are, without scale and margin.
      seed: of the initial centres, and of what is drawn.
    """

    scale: float = 64.0
    margin: NormFace = create_margin("arcface")
    sub_centres: int = 1
    ignored_from: float = 1.0
    normalized: bool = True
    seed: int = 1


class FullCentres(tf.Module):
    """Class centres on the unit sphere, and the softmax over `s * cos(theta)` of all with a margin on the target.

    Memory: weights float32 [classes, K, D], 85,742 x 512 x 4 B = 176 MB, the same again for momentum; logits
    [batch, classes], 512 x 85,742 x 4 B = 176 MB.

    Example:
      >>> head = FullCentres(2, 3)
      >>> _ = head.centres.assign([[[1.0, 0.0]], [[0.0, 1.0]], [[-1.0, 0.0]]])
      >>> found = head.loss(tf.constant([[9.0, 1.0]]), tf.constant([0], tf.int64), tf.constant(0.5), tf.constant(0))
      >>> found.hits.numpy().tolist(), head.nearest(tf.constant([[-3.0, 1.0]])).numpy().tolist()
      ([True], [2])
    """

    def __init__(self, embedding_dim: int, classes: int, options: HeadOptions = HeadOptions()) -> None:  # noqa: B008 - frozen
        """Makes the class centres.

        Args:
          embedding_dim: D.
          classes: C, the number of identities in the training data; at least 2.
          options: see there.

        Raises:
          ValueError: fewer than 2 classes, which leaves nothing to tell apart.
        """
        super().__init__(name="head")
        if classes < 2:
            raise ValueError(f"classes must be at least 2. Received: classes={classes}")
        self._options, self.classes = options, classes
        self.centres = self._create([classes, options.sub_centres, embedding_dim])
        self._state = {
            name: tf.Variable(value, trainable=False, name=name, aggregation=tf.VariableAggregation.MEAN)
            for name, value in options.margin.initial.items()
        }

    @property
    def shards(self) -> Sequence[tf.Variable]:
        """See `Head`."""
        return ()

    def whole_centres(self) -> np.ndarray:
        """See `Head`."""
        centres: np.ndarray = self.centres.numpy()
        return centres

    def take_centres(self, centres: np.ndarray) -> None:
        """See `Head`."""
        self.centres.assign(centres)

    def begin_at(self, directions: np.ndarray) -> None:
        """See `Head`. Several centres of a class keep their random difference: equal ones would stay equal."""
        scattered = self.whole_centres() if self._options.sub_centres > 1 else 0.0
        self.take_centres(directions[:, np.newaxis] + scattered)

    def loss(self, embeddings: tf.Tensor, class_index: tf.Tensor, margin: tf.Tensor, step: tf.Tensor) -> HeadLoss:
        """See `Head`. The loss is the softmax cross-entropy."""
        return self._loss(embeddings, self.centres, class_index, margin)

    def nearest(self, embeddings: tf.Tensor) -> tf.Tensor:
        """See `Head`."""
        best = tf.fill([tf.shape(embeddings)[0]], -2.0)
        found = tf.zeros_like(best, tf.int64)
        unit = tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=1)
        for begin in range(0, self.centres.shape[0], BLOCK):
            cosines = self._compare(unit, tf.math.l2_normalize(self.centres[begin : begin + BLOCK], axis=-1))
            nearest = tf.argmax(cosines, axis=1)
            cosine = tf.gather(cosines, nearest, batch_dims=1)
            found = tf.where(cosine > best, nearest + begin, found)
            best = tf.maximum(cosine, best)
        return found

    def _create(self, shape: Sequence[int]) -> tf.Variable:
        """The centres of the first step, float32 [C, K, D]."""
        return tf.Variable(initial_centres(shape, self._options.seed, 0, shape[0]), name="centres")

    def _loss(self, embeddings: tf.Tensor, centres: tf.Tensor, class_index: tf.Tensor, margin: tf.Tensor) -> HeadLoss:
        """The loss over some classes: their centres float32 [C, K, D], and an index into them, int64 [N]."""
        options, embeddings = self._options, tf.cast(embeddings, tf.float32)
        if not options.normalized:
            logits = self._compare(embeddings, centres)
            hits = tf.equal(tf.argmax(logits, axis=1), class_index)
            return HeadLoss(tf.nn.sparse_softmax_cross_entropy_with_logits(class_index, logits), hits, centres)
        norms = tf.sqrt(tf.reduce_sum(tf.square(embeddings), axis=1) + 1e-12)  # finite gradient at length 0
        cosines = self._compare(
            tf.math.l2_normalize(embeddings, axis=1), tf.math.l2_normalize(tf.convert_to_tensor(centres), axis=-1)
        )
        rows = tf.stack([tf.range(tf.shape(class_index, out_type=tf.int64)[0]), class_index], axis=1)
        cosine, cosines = with_targets(cosines, rows)
        cosine = tf.clip_by_value(cosine, -1.0, 1.0)  # rounding may pass 1, where a margin takes a root
        state = self._updated(cosine, norms)
        target = options.margin.target(cosine, norms, margin, state)
        others = options.margin.others(cosines, target, state)
        if options.ignored_from < 1.0:
            others = tf.where(cosines > options.ignored_from, 0.0, others)  # as InsightFace: a right angle
        logits = options.scale * tf.tensor_scatter_nd_update(others, rows, target)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(class_index, logits) + options.margin.penalty(norms)
        return HeadLoss(losses, tf.equal(tf.argmax(cosines, axis=1), class_index), centres)

    def _compare(self, embeddings: tf.Tensor, centres: tf.Tensor) -> tf.Tensor:
        """Products of embeddings [N, D] with the best of each class's centres [C, K, D]: float32 [N, C]."""
        many = self._options.sub_centres
        products = tf.matmul(embeddings, tf.reshape(centres, [-1, embeddings.shape[-1]]), transpose_b=True)
        return tf.reduce_max(tf.reshape(products, [tf.shape(products)[0], -1, many]), axis=2) if many > 1 else products

    def _updated(self, cosine: tf.Tensor, norms: tf.Tensor) -> State:
        """The margin's state with this batch in it, of all replicas together."""

        def mean(values: tf.Tensor) -> tf.Tensor:
            own = tf.reduce_mean(values)
            context = tf.distribute.get_replica_context()
            return own if context is None else context.all_reduce(tf.distribute.ReduceOp.MEAN, own)

        before = {name: variable.read_value() for name, variable in self._state.items()}
        state = self._options.margin.update(cosine, norms, before, mean)
        for name, variable in self._state.items():
            variable.assign(state[name])
        return state


def initial_centres(shape: Sequence[int], seed: int, begin: int, end: int) -> tf.Tensor:
    """The centres of classes `begin` to `end` at first, float32 [end - begin, K, D].

    They are rows of `tf.random.stateless_normal(shape, [seed, 0])`, of which none but they are drawn: Philox's counter
    counts groups of four numbers.

    Args:
      shape: C, K, D.
      seed: of the training.
      begin: of the rows.
      end: of the rows.
    """
    size = math.prod(shape[1:])
    groups, rest = divmod(begin * size, 4)
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=[seed, 0])
    counter += tf.constant([groups, 0], tf.uint64)
    count = rest + (end - begin) * size
    drawn = tf.raw_ops.StatelessRandomNormalV2(shape=[count], key=key, counter=counter, alg=_PHILOX)
    return _INITIAL_STDDEV * tf.reshape(drawn[rest:], [end - begin, *shape[1:]])


@tf.custom_gradient
def with_targets(cosines: tf.Tensor, rows: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable[..., Any]]:
    """The elements of a matrix at `rows`, and the matrix.

    TensorFlow's own gradient of the elements is a matrix of zeros around them, to be added to the other one.
    """

    def gradient(of_elements: tf.Tensor, of_matrix: tf.Tensor) -> tuple[tf.Tensor, None]:
        return tf.tensor_scatter_nd_add(of_matrix, rows, of_elements), None

    return (tf.gather_nd(cosines, rows), tf.identity(cosines)), gradient
