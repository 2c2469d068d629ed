"""The exported graph: JPEG or PNG bytes in, embeddings out."""

import tensorflow as tf
import tf_keras

from arcface_common import features
from arcface_common.features import MAX_IMAGE_PIXELS, PixelFormat
from trainer_module.data.images import decode_faces, to_input

SERVING = "serving_default"
VERIFICATION = "verification"
RAW = "raw"
RAW_MIRRORED = "raw_mirrored"

_IMAGE_BYTES = tf.TensorSpec([None], tf.string, name=features.IMAGE_BYTES)


class EmbeddingModel(tf.Module):
    """A backbone behind the one decoder, with the two signatures that this project exports."""

    def __init__(
        self, backbone: tf_keras.Model, pixel_format: PixelFormat, max_image_pixels: int = MAX_IMAGE_PIXELS
    ) -> None:
        """Keeps the network.

        Args:
          backbone: float32 [N, 112, 112, 3] normalised -> float32 [N, D] raw embedding.
          pixel_format: colour order and value range that the backbone was trained with.
          max_image_pixels: width x height of an image that is decoded at most.
        """
        super().__init__(name="embedding_model")
        # Of a Keras model that it finds, TensorFlow writes five functions a layer, for Keras alone: of iresnet50, 30 s
        # of exporting and 10 of loading, in place of 6 and 2. So it finds the variables.
        self.weights = backbone.variables
        self.raw = lambda pixels: backbone(to_input(pixels, pixel_format), training=False)
        self.max_image_pixels = max_image_pixels

    def _decode(self, image_bytes: tf.Tensor) -> tf.Tensor:
        return decode_faces(image_bytes, max_pixels=self.max_image_pixels)

    @tf.function(input_signature=[_IMAGE_BYTES])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """What TF Serving answers.

        Args:
          image_bytes: string [N], aligned faces as JPEG or PNG. They are turned by their EXIF orientation, and another
            size than 112 x 112 is resized, whatever it shows: aligning is the client's.

        Returns:
          `embedding` float32 [N, D] of length 1, `norm` float32 [N], the raw length, a hint at image quality.

        Raises:
          tf.errors.InvalidArgumentError: one of them is no image, or its header promises more than `max_image_pixels`,
            which is seen before memory is taken.
        """
        raw = self.raw(self._decode(image_bytes))
        return {features.EMBEDDING: tf.math.l2_normalize(raw, axis=1), features.NORM: tf.norm(raw, axis=1)}

    @tf.function(input_signature=[_IMAGE_BYTES])
    def verify(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the verification protocol reads: raw embeddings of the images and of their mirrors, in one batch.

        Args:
          image_bytes: string [N], as for `serve`.

        Returns:
          `raw` and `raw_mirrored`, float32 [N, D], not normalised.
        """
        pixels = self._decode(image_bytes)
        raw = self.raw(tf.concat([pixels, tf.image.flip_left_right(pixels)], axis=0))
        images, mirrored = tf.split(raw, 2, axis=0)
        return {RAW: images, RAW_MIRRORED: mirrored}

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The signatures by the names they are exported under."""
        return {
            SERVING: self.serve.get_concrete_function(),
            VERIFICATION: self.verify.get_concrete_function(),
        }
