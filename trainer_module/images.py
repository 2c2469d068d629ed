"""From image bytes to the network's input: one decoder for training, evaluation and the exported graph."""

import functools

import tensorflow as tf

from trainer_module.features import CHANNELS, IMAGE_SIZE, PixelFormat


def decode(image_bytes: tf.Tensor) -> tf.Tensor:
    """Decodes one JPEG or PNG to the pixels that OpenCV gives.

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


def decode_face(image_bytes: tf.Tensor, size: int = IMAGE_SIZE) -> tf.Tensor:
    """Decodes one aligned face; an image of another size is resized (bilinear, half-pixel centres).

    Args:
      image_bytes: scalar string, JPEG or PNG.
      size: S, height and width that the network takes, in pixels.

    Returns:
      uint8 [S, S, 3], RGB, 0..255.
    """
    image = decode(image_bytes)
    shape = tf.shape(image)

    def resized() -> tf.Tensor:
        pixels = tf.image.resize(image, (size, size), method="bilinear")
        return tf.cast(tf.round(pixels), tf.uint8)

    fits = tf.logical_and(tf.equal(shape[0], size), tf.equal(shape[1], size))
    return tf.ensure_shape(tf.cond(fits, lambda: image, resized), (size, size, CHANNELS))


def decode_faces(image_bytes: tf.Tensor, size: int = IMAGE_SIZE) -> tf.Tensor:
    """`decode_face` over a batch: string [N] -> uint8 [N, S, S, 3], RGB."""
    spec = tf.TensorSpec((size, size, CHANNELS), tf.uint8)
    decoder = functools.partial(decode_face, size=size)
    return tf.map_fn(decoder, image_bytes, fn_output_signature=spec, parallel_iterations=32)


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
