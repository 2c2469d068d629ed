"""A face brought to InsightFace's template inside the graph: what `components.alignment` does on the host.

The transform is Umeyama's least-squares similarity. In the plane it needs no singular values: with points and template
as complex numbers around their means, turn and scale are one complex factor, sum(conj(p) q) / sum(|p|^2).
"""

import tensorflow as tf

from arcface_common.features import CHANNELS, IMAGE_SIZE
from components.alignment.template import TEMPLATE

LEAST_LIKENESS = 0.4  # between swapped eyes, 0.29, and a profile
_LEAST_INSIDE = 0.5  # share of the crop
_LARGEST_SCALE = 16  # pixels of the crop for one of the image, along a line


def similarities(landmarks: tf.Tensor) -> tf.Tensor:
    """The turn, scale and shift that bring five points nearest to the template, never a mirroring.

    Args:
      landmarks: float [N, 5, 2], x and y in pixels: eyes, nose and corners of the mouth as the template orders them.

    Returns:
      float64 [N, 2, 3]: a point (x, y) goes to the matrix times (x, y, 1); not finite where the points are one point.
    """
    centre, size, along, across = _beside_template(landmarks)
    cosine, sine = along / size, across / size
    linear = tf.stack([tf.stack([cosine, -sine], axis=-1), tf.stack([sine, cosine], axis=-1)], axis=1)
    shift = TEMPLATE.mean(axis=0) - tf.linalg.matvec(linear, centre)
    return tf.concat([linear, shift[..., None]], axis=-1)


def likeness(landmarks: tf.Tensor) -> tf.Tensor:
    """How much of the template's shape five points have: 1 for all; a mirrored face has 0.05, a profile some 0.5.

    It is the share of the template's variance that `similarities` explains.

    Args:
      landmarks: as there.

    Returns:
      float64 [N], 0..1; not a number where the points are one point.
    """
    _, size, along, across = _beside_template(landmarks)
    return (along**2 + across**2) / (size * float(((TEMPLATE - TEMPLATE.mean(axis=0)) ** 2).sum()))


def _beside_template(landmarks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The points' centre [N, 2], and around it the sums [N] of |p|^2 and of the parts of conj(p) q; float64."""
    points = tf.cast(landmarks, tf.float64)
    centre = tf.reduce_mean(points, axis=1)
    x, y = tf.unstack(points - centre[:, None], axis=-1)
    u, v = (TEMPLATE - TEMPLATE.mean(axis=0)).T
    along, across = tf.reduce_sum(x * u + y * v, axis=1), tf.reduce_sum(x * v - y * u, axis=1)
    return centre, tf.reduce_sum(x * x + y * y, axis=1), along, across


def face(image: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """`crop`, of a part of the image that can hold a face: half of it lies inside, and it is 7 pixels wide or more.

    Raises:
      tf.errors.InvalidArgumentError: it can't, or as `crop` (when the op runs).
    """
    x, y = _places(matrix)
    height, width = (tf.cast(size, tf.float64) for size in tf.unstack(tf.shape(image)[:2]))
    inside = tf.reduce_mean(tf.cast((x > -1) & (x < width) & (y > -1) & (y < height), tf.float64))
    usable = tf.raw_ops.Assert(
        condition=(inside >= _LEAST_INSIDE) & (tf.linalg.norm(matrix[:, 0]) <= _LARGEST_SCALE),
        data=[tf.constant("expected landmarks of a face in the photo. Received one with this share inside"), inside],
    )
    with tf.control_dependencies([usable]):
        return crop(tf.identity(image), matrix)


def crop(image: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """`components.alignment.crop.crop` in the graph: OpenCV's bilinear `warpAffine` with a black border.

    OpenCV rounds places to 1/32 of a pixel, which this doesn't. Where a pixel of the crop covers more than 2x2 of the
    image, means of whole blocks are looked at, which OpenCV doesn't.

    Args:
      image: uint8 [H, W, 3].
      matrix: float64 [2, 3], from the image to the crop.

    Returns:
      uint8 [112, 112, 3].

    Raises:
      tf.errors.InvalidArgumentError: the matrix is not finite or has no inverse (when the op runs).
    """
    size = tf.linalg.norm(matrix[:, 0])  # pixels of the crop for each of the image, along a line
    usable = tf.raw_ops.Assert(
        condition=tf.logical_and(tf.reduce_all(tf.math.is_finite(matrix)), size > 0),
        data=[tf.constant("expected landmarks of a face at different places. Received the transform"), matrix],
    )
    with tf.control_dependencies([usable]):
        block = tf.cast(1 / tf.maximum(size, 1e-6), tf.int64)
    x, y = _places(matrix)
    return tf.cond(block > 1, lambda: _reduced(image, x, y, block), lambda: _sampled(image, x, y))


def _places(matrix: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where each pixel of the crop lies in the image: x and y, float64 [112, 112]."""
    linear, shift = matrix[:, :2], matrix[:, 2]
    steps = tf.range(IMAGE_SIZE, dtype=tf.float64)
    columns, rows = tf.meshgrid(steps - shift[0], steps - shift[1])
    # The inverse of a turn and scale is its transpose over the scale's square.
    square = tf.reduce_sum(linear[:, 0] ** 2)
    x, y = (tf.reduce_sum(linear[:, i, None, None] * tf.stack([columns, rows]), axis=0) / square for i in (0, 1))
    return x, y


def _reduced(image: tf.Tensor, x: tf.Tensor, y: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
    """The crop from means over blocks of the part of the image that it covers."""
    (left, right), (top, bottom) = (
        _part(places, block, tf.shape(image, tf.int64)[axis]) for places, axis in ((x, 1), (y, 0))
    )
    part = image[top:bottom, left:right]

    def of_blocks() -> tf.Tensor:
        values = tf.cast(part, tf.float32)
        for _ in range(2):  # rows, then columns
            values = tf.math.segment_mean(values, tf.range(tf.shape(values, tf.int64)[0]) // block)
            values = tf.transpose(values, (1, 0, 2))
        x_of_blocks, y_of_blocks = (
            (places - tf.cast(begin, tf.float64) + 0.5) / tf.cast(block, tf.float64) - 0.5
            for places, begin in ((x, left), (y, top))
        )
        return _sampled(tf.cast(tf.floor(values + 0.5), tf.uint8), x_of_blocks, y_of_blocks)

    return tf.cond(tf.size(part) > 0, of_blocks, lambda: tf.zeros((IMAGE_SIZE, IMAGE_SIZE, CHANNELS), tf.uint8))


def _part(places: tf.Tensor, block: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Begin and end of what a crop looks at along one side; begin is a whole number of blocks."""
    limit = tf.cast(size, tf.float64)
    least, most = (
        tf.cast(tf.floor(tf.clip_by_value(f(places), -1.0, limit)), tf.int64) for f in (tf.reduce_min, tf.reduce_max)
    )
    begin = tf.maximum(least // block * block - block, 0)
    return begin, tf.maximum(tf.minimum(most + 2 * block, size), begin)


def _sampled(image: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Bilinear interpolation at places [112, 112]; what lies outside counts as 0."""
    height, width = tf.unstack(tf.shape(image, tf.int64)[:2])
    pixels = tf.reshape(image, (-1, CHANNELS))
    # Two pixels outside is as far as anything: beyond, numbers would pass those of int64.
    x, y = (tf.clip_by_value(places, -2.0, tf.cast(size + 1, tf.float64)) for places, size in ((x, width), (y, height)))
    left, top = tf.floor(x), tf.floor(y)
    total = tf.zeros((IMAGE_SIZE, IMAGE_SIZE, CHANNELS), tf.float32)
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            i, j = tf.cast(row, tf.int64), tf.cast(column, tf.int64)
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            place = tf.where(inside, i * width + j, 0)
            weight = tf.where(inside, tf.cast(row_weight * column_weight, tf.float32), 0)
            total += weight[..., None] * tf.cast(tf.gather(pixels, place), tf.float32)
    return tf.cast(tf.round(total), tf.uint8)
