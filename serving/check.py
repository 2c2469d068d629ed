"""Holds a SavedModel, loaded anew, to the embeddings that the network gave in the process that exported it."""

import os

import numpy as np
import tensorflow as tf

from arcface_common import features
from arcface_common.artifacts import EXTRA, REFERENCE_FILE
from serving.embedding_probes import check_alike, probe_images
from serving.signatures import SERVING
from trainer_module.literal_paths import load_saved_model


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
    return check_alike(answer[features.EMBEDDING].numpy(), expected, model_dir)
