"""The exported graph: encoded images or pixels in, embeddings and cosines out."""

from typing import Any, Protocol

import tensorflow as tf

from arcface_common import features
from arcface_common.features import CHANNELS, IMAGE_SIZE, MAX_IMAGE_PIXELS, PixelFormat
from serving.aligning import LEAST_LIKENESS, face, likeness, similarities
from serving.each import faces_of_each
from serving.signature_names import (
    ALIGN_AND_EMBED,
    EMBED_PIXELS,
    RAW,
    RAW_MIRRORED,
    SERVING,
    SIMILARITY,
    VERIFICATION,
)
from trainer_module.data.images import decode_turned, fit, to_input
from trainer_module.data.orientation import orientations

_Answer = dict[str, tf.Tensor]


def _images(name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None], tf.string, name=name)


_IMAGE_BYTES = _images(features.IMAGE_BYTES)
_PIXELS = tf.TensorSpec([None, IMAGE_SIZE, IMAGE_SIZE, CHANNELS], tf.uint8, name=features.PIXELS)
_LANDMARKS = tf.TensorSpec([None, 5, 2], tf.float32, name=features.LANDMARKS)


class Network(Protocol):
    """A tf_keras model, or the folded network of one."""

    variables: Any

    def __call__(self, pixels: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Normalised float32 [N, 112, 112, 3] -> raw embedding float32 [N, D]."""


class EmbeddingModel(tf.Module):
    """A network behind the one decoder, with the signatures that this project exports.

    An image that can't be used fails no other: its `valid` is false, and what stands beside that is zeros. It is one
    that is no whole JPEG or PNG, or whose header promises more than `max_image_pixels`, which is seen before memory is
    taken.
    """

    def __init__(self, network: Network, pixel_format: PixelFormat, max_image_pixels: int = MAX_IMAGE_PIXELS) -> None:
        """Keeps the network.

        Args:
          network: float32 [N, 112, 112, 3] normalised -> float32 [N, D] raw embedding.
          pixel_format: colour order and value range that the network was trained with.
          max_image_pixels: width x height of an image that is decoded at most.
        """
        super().__init__(name="embedding_model")
        # Of a Keras model that it finds, TensorFlow writes five functions a layer, for Keras alone: of iresnet50, 30 s
        # of exporting and 10 of loading, in place of 6 and 2. So it finds the variables.
        self.weights = network.variables

        def raw(pixels: tf.Tensor) -> tf.Tensor:
            # Of no image, oneDNN's convolutions give the shape of what went in, at which the next operation fails.
            count = tf.shape(pixels)[0]
            one_more = tf.cast(tf.equal(count, 0), tf.int32)
            pixels = tf.pad(pixels, [[0, one_more], [0, 0], [0, 0], [0, 0]])
            return network(to_input(pixels, pixel_format), training=False)[:count]

        # One function that all signatures call: each would hold the whole network otherwise. AutoGraph stays on for it:
        # a user's layers may need it.
        self.raw = tf.function(raw, input_signature=[_PIXELS])
        self.max_image_pixels = max_image_pixels

    @tf.function(input_signature=[_IMAGE_BYTES])
    def serve(self, image_bytes: tf.Tensor) -> _Answer:
        """What TF Serving answers.

        Args:
          image_bytes: string [N], aligned faces as JPEG or PNG. They are turned by their EXIF orientation, and another
            size than 112 x 112 is resized, whatever it shows: aligning is the client's, or `align_and_embed`'s.

        Returns:
          `embedding` float32 [N, D] of length 1, `norm` float32 [N], the raw length, a hint at image quality, and
          `valid` bool [N].
        """
        return self._embedded(*self._decode(image_bytes))

    @tf.function(input_signature=[_PIXELS])
    def embed_pixels(self, pixels: tf.Tensor) -> _Answer:
        """As `serve`, of pixels: uint8 [N, 112, 112, 3], RGB. All are valid."""
        return self._embedded(pixels, tf.ones(tf.shape(pixels)[:1], tf.bool))

    @tf.function(input_signature=[_IMAGE_BYTES, _LANDMARKS])
    def align_and_embed(self, image_bytes: tf.Tensor, landmarks: tf.Tensor) -> _Answer:
        """As `serve`, of photos: each is cut out at InsightFace's template first, as `arcface-tfx align` does.

        Args:
          image_bytes: string [N], photos of any size.
          landmarks: float32 [N, 5, 2], x and y in pixels of the photo as its EXIF orientation turns it: the eye on the
            left of the picture, the other, nose, left and right corner of the mouth. (0, 0) is the middle of the first
            pixel. Where they can't be a face's, the image is not valid: one point, not finite, mirrored or in another
            order, in shares of the photo's size, or of a face that lies more than half outside.
        """

        def to_face(image: tf.Tensor, orientation: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
            return face(decode_turned(image, orientation, self.max_image_pixels), matrix)

        alike = (likeness(landmarks) >= LEAST_LIKENESS)[:, None, None]
        matrices = tf.where(alike, similarities(landmarks), tf.constant(float("nan"), tf.float64))
        return self._embedded(*faces_of_each(to_face, (image_bytes, orientations(image_bytes), matrices)))

    @tf.function(input_signature=[_IMAGE_BYTES])
    def verify(self, image_bytes: tf.Tensor) -> _Answer:
        """What the verification protocol reads: raw embeddings of the images and of their mirrors, in one batch.

        Args:
          image_bytes: string [N], as for `serve`.

        Returns:
          `raw` and `raw_mirrored`, float32 [N, D], not normalised, and `valid` bool [N].
        """
        return self._both(image_bytes)

    @tf.function(input_signature=[_images(features.IMAGE_A_BYTES), _images(features.IMAGE_B_BYTES)])
    def similarity(self, image_a_bytes: tf.Tensor, image_b_bytes: tf.Tensor) -> _Answer:
        """Compares faces pair by pair as the verification protocol does, so that the evaluation's thresholds hold.

        Args:
          image_a_bytes: string [N], as for `serve`.
          image_b_bytes: string [N], each of which is compared with the one of its place.

        Returns:
          `cosine` float32 [N], and `valid` bool [N]: both images can be used.

        Raises:
          tf.errors.InvalidArgumentError: another number of the ones than of the others.
        """
        counts = [tf.shape(images)[0] for images in (image_a_bytes, image_b_bytes)]
        expected = tf.constant("expected as many images in one as in the other. Received:")
        alike = tf.raw_ops.Assert(condition=tf.equal(*counts), data=[expected, *counts])
        with tf.control_dependencies([alike]):
            both = self._both(tf.concat([image_a_bytes, image_b_bytes], axis=0))
        a, b = tf.split(tf.math.l2_normalize(both[RAW] + both[RAW_MIRRORED], axis=1), 2)
        valid = tf.reduce_all(tf.stack(tf.split(both[features.VALID], 2)), axis=0)
        return {features.COSINE: _where(valid, tf.reduce_sum(a * b, axis=1)), features.VALID: valid}

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The signatures by the names they are exported under."""
        methods = {
            SERVING: self.serve,
            EMBED_PIXELS: self.embed_pixels,
            ALIGN_AND_EMBED: self.align_and_embed,
            SIMILARITY: self.similarity,
            VERIFICATION: self.verify,
        }
        return {name: method.get_concrete_function() for name, method in methods.items()}

    def _decode(self, image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def to_face(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
            return fit(decode_turned(image, orientation, self.max_image_pixels), IMAGE_SIZE)

        return faces_of_each(to_face, (image_bytes, orientations(image_bytes)))

    def _embedded(self, pixels: tf.Tensor, valid: tf.Tensor) -> _Answer:
        raw = _where(valid, self.raw(pixels))
        return {
            features.EMBEDDING: tf.math.l2_normalize(raw, axis=1),
            features.NORM: tf.norm(raw, axis=1),
            features.VALID: valid,
        }

    def _both(self, image_bytes: tf.Tensor) -> _Answer:
        pixels, valid = self._decode(image_bytes)
        raw = self.raw(tf.concat([pixels, tf.image.flip_left_right(pixels)], axis=0))
        images, mirrored = tf.split(raw, 2, axis=0)
        return {RAW: _where(valid, images), RAW_MIRRORED: _where(valid, mirrored), features.VALID: valid}


def _where(valid: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """What stands beside a valid image, zeros elsewhere: [N] or [N, D]."""
    return tf.where(valid if rows.shape.rank == 1 else valid[:, None], rows, 0.0)
