"""Holds a SavedModel, loaded anew, to the embeddings that the network gave in the process that exported it."""

import os

import numpy as np
import tensorflow as tf

from arcface_common import features
from arcface_common.artifacts import EXTRA, REFERENCE_FILE
from serving.export import probe_images
from serving.signatures import SERVING
from trainer_module.literal_paths import load_saved_model

# Same graph, same weights, another process or machine: what remains is the order of sums in kernels. Embeddings have
# length 1, so that their distance is an error relative to their size: 5e-6 seen between AVX2 and AVX-512, and 0.2 for a
# wrong colour order or another decoder.
TOLERANCE = 1e-4


class EmbeddingMismatchError(RuntimeError):
    """The loaded model does not give the embeddings that were recorded when it was exported."""


def check_embeddings(model_dir: str) -> float:
    """Loads the SavedModel and compares its embeddings of the probe images.

    Args:
      model_dir: a model that `export_saved_model` wrote.

    Returns:
      The largest distance between an embedding and what was recorded; both have length 1.

    Raises:
      EmbeddingMismatchError: the difference is above the tolerance.
    """
    with tf.io.gfile.GFile(os.path.join(model_dir, EXTRA, REFERENCE_FILE), "rb") as f:
        expected = np.load(f)
    loaded = load_saved_model(model_dir)
    answer = loaded.signatures[SERVING](tf.constant(probe_images(len(expected))))
    received = answer[features.EMBEDDING].numpy()
    same_shape = received.shape == expected.shape
    difference = float(np.linalg.norm(received - expected, axis=1).max()) if same_shape else float("inf")
    if not difference <= TOLERANCE:
        raise EmbeddingMismatchError(
            f"{model_dir}: expected the embeddings recorded at export, {expected.shape}, within {TOLERANCE}. "
            f"Received: {received.shape}, largest distance {difference}"
        )
    return difference
