"""Writes the SavedModel that is evaluated, pushed and served, with all that describes it in `assets.extra`."""

import io
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from arcface_common import features
from arcface_common.artifacts import EXTRA, MODEL_NAME, REFERENCE_FILE, WARMUP_FILE
from arcface_common.features import IMAGE_SIZE
from arcface_common.model_metadata import ModelMetadata
from serving.signatures import SERVING, EmbeddingModel
from trainer_module.gfile_aside import gfile_aside

_WARMUP_BATCHES = (1, 8)


def probe_images(count: int) -> list[bytes]:
    """JPEGs to warm a model up with and to compare its embeddings on: smooth random colour fields, nobody's face.

    Args:
      count: how many, each different, the same on every call.
    """
    images = []
    for seed in range(count):
        field = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(field).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        images.append(buffer.getvalue())
    return images


def export_saved_model(
    backbone: tf_keras.Model, model_dir: str, metadata: ModelMetadata, beside: Sequence[str] = ()
) -> None:
    """Writes the SavedModel aside, then renames it into place.

    Beside the graph, `assets.extra/` (which survives a push) receives the metadata, warm-up requests for TF Serving,
    and the in-process embeddings of the probe images, which the Pusher holds the loaded model to.

    Args:
      backbone: float32 [N, 112, 112, 3] -> float32 [N, D].
      model_dir: the SavedModel's folder; must not exist or be empty.
      metadata: describes the backbone.
      beside: more files for `assets.extra`, such as the curve of the training; one that isn't there is left out.
    """
    model = EmbeddingModel(backbone, metadata.pixel_format, metadata.max_image_pixels)
    probes = probe_images(max(_WARMUP_BATCHES))
    reference = model.serve(tf.constant(probes))[features.EMBEDDING].numpy()

    with gfile_aside(model_dir) as aside:
        tf.saved_model.save(model, aside, signatures=model.signatures())
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
