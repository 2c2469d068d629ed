"""A SavedModel of ours applied to pairs of images, in Beam or out of it."""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from evaluator_custom.protocol import pair_distances
from serving.signatures import RAW, RAW_MIRRORED, VERIFICATION
from trainer_module.errors import DataError

_IMAGES_PER_CALL = 64  # 128 with their mirrors: 19 MB of float32 pixels, and large enough to fill two cores

# What `PairEmbedder.predict` gives for a pair, in this order.
DISTANCE, XNORM = 0, 1


# How many pairs the next evaluation will embed, for its progress bar; None if unknown. The evaluator sets it here:
# TFX's hooks have no room for it, and TFX loads the hooks' own module anew, which would forget it.
expected_pairs: int | None = None


class PairEmbedder:
    """A loaded SavedModel of ours, applied to pairs."""

    def __init__(self, model_path: str) -> None:
        """Loads the model.

        Args:
          model_path: a SavedModel with the signature `verification`.

        Raises:
          DataError: a SavedModel without that signature.
        """
        self._loaded = tf.saved_model.load(model_path)  # keeps the variables alive
        if VERIFICATION not in self._loaded.signatures:
            raise DataError(
                f"{model_path}: expected a SavedModel with the signature {VERIFICATION!r}, as this project exports. "
                f"Received: {sorted(self._loaded.signatures)}"
            )
        self._signature = self._loaded.signatures[VERIFICATION]

    def embed(self, images: list[bytes], bar: tqdm | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Raw embeddings of images and of their mirrors; an image that occurs again is embedded once.

        Args:
          images: N encoded images.
          bar: progress over the distinct images.

        Returns:
          Two float32 [N, D].
        """
        distinct = list(dict.fromkeys(images))
        position = {image: row for row, image in enumerate(distinct)}
        raw, mirrored = [], []
        for begin in range(0, len(distinct), _IMAGES_PER_CALL):
            answer = self._signature(tf.constant(distinct[begin : begin + _IMAGES_PER_CALL]))
            raw.append(answer[RAW].numpy())
            mirrored.append(answer[RAW_MIRRORED].numpy())
            if bar is not None:
                bar.update(len(raw[-1]))
        rows = [position[image] for image in images]
        return np.concatenate(raw)[rows], np.concatenate(mirrored)[rows]

    def predict(self, images: list[bytes]) -> np.ndarray:
        """Distance and mean raw length of every pair.

        Args:
          images: 2N encoded images, pair i at 2i and 2i + 1.

        Returns:
          float64 [N, 2]: squared distance, and the mean of the pair's four raw lengths.
        """
        return np.stack(pair_distances(*self.embed(images)), axis=1)
