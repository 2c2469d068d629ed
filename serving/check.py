"""Holds a SavedModel, loaded anew, to the embeddings that the network gave in the process that exported it."""

import os

import numpy as np
import tensorflow as tf

from arcface_common import features
from arcface_common.artifacts import EXTRA, REFERENCE_FILE
from serving.embedding_probes import check_alike, probe_images
from serving.graph_session import GraphSession
from serving.signature_names import SERVING


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
    answer = GraphSession(model_dir).run(SERVING, {features.IMAGE_BYTES: probe_images(len(expected))})
    return check_alike(answer[features.EMBEDDING], expected, model_dir)
