"""Work on each image of a batch, in the graph, where a bad one takes nothing from the others."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from arcface_common.features import CHANNELS, IMAGE_SIZE

_SHAPE = (IMAGE_SIZE, IMAGE_SIZE, CHANNELS)


def faces_of_each(to_face: Callable[..., tf.Tensor], columns: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies a function to each row; where it raises, the row is zeros and not valid.

    TensorFlow's graphs have no way to catch an error but `IgnoreErrorsDataset`, which leaves out what fails. So rows
    carry their numbers, and those that are missing are found by them. That takes 0.4 ms for 1 image and 4 for 32.

    Args:
      to_face: takes a value of each column, gives uint8 [112, 112, 3].
      columns: tensors [N, ...].

    Returns:
      uint8 [N, 112, 112, 3], and bool [N].
    """
    count = tf.shape(columns[0], tf.int64)[0]

    def numbered(number: tf.Tensor, *values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return number, tf.ensure_shape(to_face(*values), _SHAPE)

    rows = tf.data.Dataset.from_tensor_slices((tf.range(count), *columns)).map(numbered).ignore_errors()
    # A row of zeros at the end stands for each that is missing.
    rows = rows.concatenate(tf.data.Dataset.from_tensors((count, tf.zeros(_SHAPE, tf.uint8))))
    numbers, faces = rows.batch(count + 1).get_single_element()
    last = tf.size(numbers, tf.int64) - 1
    found = tf.range(last + 1)
    place = tf.tensor_scatter_nd_update(tf.fill([count + 1], last), numbers[:, None], found)[:count]
    return tf.gather(faces, place), place < last
