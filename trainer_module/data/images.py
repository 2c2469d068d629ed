"""From image bytes to the network's input: one decoder for training, evaluation and the exported graph."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from arcface_common.features import CHANNELS, IMAGE_SIZE, MAX_IMAGE_PIXELS, PNG_MAGIC, PixelFormat, largest_image_file
from trainer_module.data.orientation import orientations, turned


def decode_stored(image_bytes: tf.Tensor) -> tf.Tensor:
    """Decodes one JPEG or PNG as it is stored: for images of known size that need no turning, which ingest hands on.

    TensorFlow's default inverse DCT is off by up to 17 of 255 levels (embedding cosine down to 0.983 on real faces);
    INTEGER_ACCURATE is equal, pixel by pixel. The op reads PNG too, whatever its name.

    Args:
      image_bytes: scalar string.

    Returns:
      uint8 [H, W, 3], RGB, 0..255.

    Raises:
      tf.errors.InvalidArgumentError: the bytes are no image (when the op runs).
    """
    return tf.io.decode_jpeg(image_bytes, channels=CHANNELS, dct_method="INTEGER_ACCURATE")


def decode(image_bytes: tf.Tensor, max_pixels: int = MAX_IMAGE_PIXELS) -> tf.Tensor:
    """Decodes one JPEG or PNG to the pixels that OpenCV's IMREAD_COLOR gives: turned by its EXIF orientation.

    Args:
      image_bytes: scalar string, from anywhere.
      max_pixels: width x height that is decoded at most.

    Returns:
      uint8 [H, W, 3], RGB, 0..255.

    Raises:
      tf.errors.InvalidArgumentError: the bytes are no image, more than one of `max_pixels` can take, or of more pixels,
        which the header tells before memory is taken (when the op runs).
    """
    return decode_turned(image_bytes, orientations(tf.expand_dims(image_bytes, 0))[0], max_pixels)


def decode_turned(image_bytes: tf.Tensor, orientation: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """`decode` of an image whose orientation is known already: `orientations` looks faster at many.

    Args:
      image_bytes: scalar string.
      orientation: int64 scalar, of EXIF.
      max_pixels: width x height that is decoded at most.

    Returns:
      uint8 [H, W, 3], RGB, 0..255.

    Raises:
      tf.errors.InvalidArgumentError: see `decode`.
    """
    image = _decode_within(_within_bytes(image_bytes, max_pixels), max_pixels)
    return tf.cond(orientation > 1, lambda: turned(image, orientation), lambda: image)


def image_size(image_bytes: tf.Tensor) -> tf.Tensor:
    """Height and width from the header of one JPEG or PNG, as stored.

    Args:
      image_bytes: scalar string.

    Returns:
      int64 [2]: height, width.

    Raises:
      tf.errors.InvalidArgumentError: the header is not that of a JPEG or PNG (when the op runs).
    """

    def png() -> tf.Tensor:
        # The signature's 8 bytes, then the length and the name of IHDR, which begins with width and height.
        width_and_height = tf.io.decode_raw(tf.strings.substr(image_bytes, 16, 8), tf.uint8, fixed_length=8)
        digits = tf.reshape(tf.cast(width_and_height, tf.int64), (2, 4))
        return tf.reverse(tf.reduce_sum(digits * [1 << 24, 1 << 16, 1 << 8, 1], axis=1), axis=[0])

    def jpeg() -> tf.Tensor:
        return tf.cast(tf.io.extract_jpeg_shape(image_bytes), tf.int64)[:2]

    return tf.ensure_shape(tf.cond(_is_png(image_bytes), png, jpeg), [2])


def decode_face(image_bytes: tf.Tensor, size: int = IMAGE_SIZE, max_pixels: int = MAX_IMAGE_PIXELS) -> tf.Tensor:
    """`decode` of one aligned face; an image of another size is resized (bilinear, half-pixel centres).

    Args:
      image_bytes: scalar string, JPEG or PNG.
      size: S, height and width that the network takes, in pixels.
      max_pixels: width x height that is decoded at most.

    Returns:
      uint8 [S, S, 3], RGB, 0..255.
    """
    return fit(decode(image_bytes, max_pixels), size)


def decode_faces(image_bytes: tf.Tensor, size: int = IMAGE_SIZE, max_pixels: int = MAX_IMAGE_PIXELS) -> tf.Tensor:
    """`decode_face` over a batch: string [N] -> uint8 [N, S, S, 3], RGB."""

    def decoder(one: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return fit(decode_turned(*one, max_pixels), size)

    return over_batch(decoder, (image_bytes, orientations(image_bytes)), size)


def over_batch(decoder: Callable[[Any], tf.Tensor], images: Any, size: int) -> tf.Tensor:
    """A decoder of one image applied to many: tensors [N, ...] -> uint8 [N, S, S, 3]."""
    spec = tf.TensorSpec((size, size, CHANNELS), tf.uint8)
    return tf.map_fn(decoder, images, fn_output_signature=spec, parallel_iterations=32)


def fit(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes an image (bilinear, half-pixel centres); one of that size stays as it is.

    Args:
      image: uint8 [H, W, 3].
      size: S, height and width.

    Returns:
      uint8 [S, S, 3].
    """

    def resized() -> tf.Tensor:
        pixels = tf.image.resize(image, (size, size), method="bilinear")
        return tf.cast(tf.round(pixels), tf.uint8)

    fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], size))
    return tf.ensure_shape(tf.cond(fits, lambda: image, resized), (size, size, CHANNELS))


def _within_bytes(image_bytes: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """The same strings, none of which is longer than an image of so many pixels can be.

    TensorFlow's decoders count bytes in 32 bits: 3 GiB of them end the process.
    """
    largest = min(largest_image_file(max_pixels), 2**31 - 1)
    lengths = tf.strings.length(image_bytes)  # int32: from 2 GiB to 4 GiB it is negative
    expected = f"expected images of at most {largest} bytes each. Received bytes ="
    within = tf.raw_ops.Assert(
        condition=tf.reduce_all(tf.logical_and(lengths >= 0, lengths <= largest)),
        data=[tf.constant(expected), lengths],
    )
    with tf.control_dependencies([within]):
        return tf.identity(image_bytes)


def _decode_within(image_bytes: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """`decode_stored` of an image whose header promises no more than so many pixels."""
    size = image_size(image_bytes)
    pixels = tf.reduce_prod(size)  # of two numbers below 2^32; from 2^63 on it is negative
    expected = f"expected an image of 1 to {max_pixels} pixels. Received: [height width] ="
    # The bare op: TensorFlow's own assertions take a branch each.
    within = tf.raw_ops.Assert(
        condition=tf.logical_and(pixels >= 1, pixels <= max_pixels), data=[tf.constant(expected), size]
    )
    with tf.control_dependencies([within]):
        return decode_stored(image_bytes)


def _is_png(image_bytes: tf.Tensor) -> tf.Tensor:
    """Whether the bytes begin as a PNG, whose first chunk is its header: bool scalar."""
    start = PNG_MAGIC + b"\0\0\0\x0dIHDR"
    return tf.equal(tf.strings.substr(image_bytes, 0, len(start)), start)


def to_input(pixels: tf.Tensor, pixel_format: PixelFormat) -> tf.Tensor:
    """Pixels to the network's input.

    Args:
      pixels: uint8 [..., 3], RGB, 0..255.
      pixel_format: colour order and value range that the network expects.

    Returns:
      float32 of the same shape, `(x - mean) / scale`, in the network's colour order.
    """
    if pixel_format.colour == "bgr":
        pixels = tf.reverse(pixels, axis=[-1])
    return (tf.cast(pixels, tf.float32) - pixel_format.mean) / pixel_format.scale
