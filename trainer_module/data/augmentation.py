"""Augmentation: images made worse or moved, by numbers that are drawn for them. Pure functions of pixels and numbers.

crop, low_resolution and photometric are those of AdaFace's code (Kim et al., CVPR 2022), each with a probability of 0.2
there. Only the images that an augmentation is drawn for are worked on.
"""

from collections.abc import Callable, Mapping

import tensorflow as tf

from arcface_common.features import CHANNELS, IMAGE_SIZE
from trainer_module.augmentation_facts import AUGMENTATIONS
from trainer_module.data.images import decode_stored, fit

NUMBERS = 5  # for each augmentation of an image: whether, and up to four that say how
_SMALLEST_AREA, _RATIO = 0.2, 4 / 3  # of a crop: share of the image, and width to height or the other way round
_SMALLEST_ZOOM = 0.8  # side of the part that fills the image
_SMALLEST_SIDE = 0.2  # of the image that low resolution leaves
_SPREAD = 0.5  # brightness, contrast and saturation are multiplied by 0.5 to 1.5
_WORST_QUALITY, _BEST_QUALITY = 20, 90  # of JPEG, of 100
_KERNELS = ("nearest", "bilinear", "area", "bicubic")


def augment(pixels: tf.Tensor, draws: tf.Tensor, probabilities: Mapping[str, float]) -> tf.Tensor:
    """Augments a batch.

    Args:
      pixels: uint8 [N, 112, 112, 3], RGB.
      draws: float32 [N, augmentations, NUMBERS], evenly from [0, 1).
      probabilities: of each augmentation, by its name in AUGMENTATIONS; one that isn't there is not used.

    Returns:
      The same shape and type.
    """
    for place, name in enumerate(AUGMENTATIONS):
        if probabilities.get(name, 0.0) > 0.0:
            numbers = draws[:, place]
            rows = tf.where(numbers[:, 0] < probabilities[name])
            some = _FUNCTIONS[name](tf.gather_nd(pixels, rows), tf.gather_nd(numbers, rows)[:, 1:])
            pixels = tf.tensor_scatter_nd_update(pixels, rows, some)
    return pixels


def _crop(pixels: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """All but a rectangle becomes black: 20% to 100% of the image, 3:4 to 4:3, where it was."""
    area = IMAGE_SIZE**2 * _between(_SMALLEST_AREA, 1.0, numbers[:, 0])
    ratio = tf.pow(_RATIO, _between(-1.0, 1.0, numbers[:, 1]))

    def within(side: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """Which of the places along one side are in: bool [N, 112]."""
        size = tf.minimum(tf.cast(tf.round(side), tf.int32), IMAGE_SIZE)
        first = tf.cast(tf.floor(number * tf.cast(IMAGE_SIZE - size + 1, tf.float32)), tf.int32)
        places = tf.range(IMAGE_SIZE)
        return (places >= first[:, tf.newaxis]) & (places < (first + size)[:, tf.newaxis])

    rows, columns = within(tf.sqrt(area / ratio), numbers[:, 2]), within(tf.sqrt(area * ratio), numbers[:, 3])
    kept = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
    return pixels * tf.cast(kept[..., tf.newaxis], tf.uint8)


def _zoom(pixels: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """A square part, 80% to 100% of the side, fills the image (bilinear, half-pixel centres)."""

    def one(image: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        size = tf.cast(tf.round(IMAGE_SIZE * _between(_SMALLEST_ZOOM, 1.0, number[0])), tf.int32)
        corner = tf.cast(tf.floor(number[1:3] * tf.cast(IMAGE_SIZE - size + 1, tf.float32)), tf.int32)
        return fit(image[corner[0] : corner[0] + size, corner[1] : corner[1] + size], IMAGE_SIZE)

    return _over(one, pixels, numbers)


def _low_resolution(pixels: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Resized to 20% to 100% of the side and back, each time by a kernel that is drawn."""

    def resize(image: tf.Tensor, side: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        def by(kernel: str) -> Callable[[], tf.Tensor]:
            return lambda: tf.cast(tf.image.resize(image, tf.stack([side, side]), method=kernel), tf.float32)

        which = tf.cast(number * len(_KERNELS), tf.int32)
        return tf.cast(tf.round(tf.clip_by_value(tf.switch_case(which, [by(k) for k in _KERNELS]), 0, 255)), tf.uint8)

    def one(image: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        small = tf.cast(IMAGE_SIZE * _between(_SMALLEST_SIDE, 1.0, number[0]), tf.int32)
        return resize(resize(image, small, number[1]), tf.constant(IMAGE_SIZE), number[2])

    return _over(one, pixels, numbers)


def _photometric(pixels: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast and saturation times 0.5 to 1.5 each, in this order, as Pillow's ImageEnhance has them."""
    factors = _between(1.0 - _SPREAD, 1.0 + _SPREAD, numbers)[:, :3, tf.newaxis, tf.newaxis, tf.newaxis]
    bright = _blended(tf.zeros_like(pixels), pixels, factors[:, 0])
    # Sums of whole numbers are the same in any order.
    mean = tf.reduce_sum(tf.cast(_grey(bright), tf.float64), axis=(1, 2, 3), keepdims=True) / IMAGE_SIZE**2
    flat = tf.broadcast_to(tf.cast(tf.floor(mean + 0.5), tf.uint8), tf.shape(pixels))
    contrasted = _blended(flat, bright, factors[:, 1])
    return _blended(tf.broadcast_to(_grey(contrasted), tf.shape(pixels)), contrasted, factors[:, 2])


def _blended(start: tf.Tensor, end: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """`start + factor * (end - start)`, cut to 0..255, fractions dropped: uint8 images and float32 -> uint8."""
    first, last = tf.cast(start, tf.float32), tf.cast(end, tf.float32)
    return tf.cast(tf.clip_by_value(first + factor * (last - first), 0.0, 255.0), tf.uint8)


def _grey(pixels: tf.Tensor) -> tf.Tensor:
    """ITU-R 601's luma in 16 bits of fraction, as Pillow's mode L: uint8 [N, H, W, 3] -> uint8 [N, H, W, 1]."""
    red, green, blue = tf.split(tf.cast(pixels, tf.int32), CHANNELS, axis=-1)
    return tf.cast(tf.bitwise.right_shift(19595 * red + 38470 * green + 7471 * blue + 32768, 16), tf.uint8)


def _jpeg(pixels: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Written as a JPEG of quality 20 to 90 and read again."""

    def one(image: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        quality = _WORST_QUALITY + tf.cast(number[0] * (_BEST_QUALITY - _WORST_QUALITY + 1), tf.int32)
        return decode_stored(tf.raw_ops.EncodeJpegVariableQuality(images=image, quality=quality))

    return _over(one, pixels, numbers)


def _over(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], pixels: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """A function of one image and its numbers, applied to many."""
    spec = tf.TensorSpec((IMAGE_SIZE, IMAGE_SIZE, CHANNELS), tf.uint8)

    def one(values: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return tf.ensure_shape(function(*values), spec.shape)

    return tf.map_fn(one, (pixels, numbers), fn_output_signature=spec, parallel_iterations=32)


def _between(low: float, high: float, number: tf.Tensor) -> tf.Tensor:
    """A number of [0, 1) as one of [low, high)."""
    return low + (high - low) * number


_FUNCTIONS = dict(zip(AUGMENTATIONS, (_crop, _zoom, _low_resolution, _photometric, _jpeg), strict=True))
