"""Writes the SavedModel that is evaluated, pushed and served, with all that describes it in `assets.extra`."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from arcface_common import features
from arcface_common.artifacts import EXTRA, MODEL_NAME, REFERENCE_FILE, WARMUP_FILE
from arcface_common.model_metadata import ModelMetadata
from serving.embedding_probes import check_alike, probe_images
from serving.inference.network import InferenceNetwork
from serving.ops.table import check_ops
from serving.signatures import SERVING, EmbeddingModel
from trainer_module.data.images import decode_faces, to_input
from trainer_module.gfile_aside import gfile_aside

_WARMUP_BATCHES = (1, 8)


def export_saved_model(
    backbone: tf_keras.Model, model_dir: str, metadata: ModelMetadata, beside: Sequence[str] = ()
) -> None:
    """Folds a backbone for inference and writes its SavedModel aside, then renames it into place.

    Beside the graph, `assets.extra/` (which survives a push) receives the metadata, warm-up requests for TF Serving,
    and the embeddings that the backbone itself gave of the probe images, which the Pusher holds the loaded model to.

    Args:
      backbone: float32 [N, 112, 112, 3] -> float32 [N, D].
      model_dir: the SavedModel's folder; must not exist or be empty.
      metadata: describes the backbone.
      beside: more files for `assets.extra`, such as the curve of the training; one that isn't there is left out.

    Raises:
      EmbeddingMismatchError: folding changed the embeddings.
      DataError: a layer of the backbone's needs an op that the oldest supported TF Serving hasn't.
    """
    probes = probe_images(max(_WARMUP_BATCHES))
    model = EmbeddingModel(InferenceNetwork(backbone), metadata.pixel_format, metadata.max_image_pixels)
    raw = backbone(to_input(decode_faces(tf.constant(probes)), metadata.pixel_format), training=False)
    reference = tf.math.l2_normalize(raw, axis=1).numpy()
    folded = model.serve(tf.constant(probes))[features.EMBEDDING].numpy()
    check_alike(folded, reference, f"{backbone.name}, folded for inference")

    with gfile_aside(model_dir) as aside:
        tf.saved_model.save(model, aside, signatures=model.signatures())
        check_ops(aside)
        extra = os.path.join(aside, EXTRA)
        metadata.write(extra)
        with tf.io.gfile.GFile(os.path.join(extra, REFERENCE_FILE), "wb") as f:
            np.save(f, reference)
        _write_warmup(os.path.join(extra, WARMUP_FILE), probes)
        for path in filter(tf.io.gfile.exists, beside):
            tf.io.gfile.copy(path, os.path.join(extra, os.path.basename(path)))


def _write_warmup(path: str, probes: list[bytes]) -> None:
    """Requests that TF Serving replays before a version takes traffic, one for each batch size."""
    with tf.io.TFRecordWriter(path) as writer:
        for size in _WARMUP_BATCHES:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = MODEL_NAME
            request.model_spec.signature_name = SERVING
            request.inputs[features.IMAGE_BYTES].CopyFrom(tf.make_tensor_proto(probes[:size], dtype=tf.string))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
