"""Writes the SavedModel that is evaluated, pushed and served, with all that describes it in `assets.extra`."""

import dataclasses
import io
import json
import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf
import tf_keras
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from common import features
from common.errors import DataError, is_number
from common.features import IMAGE_SIZE, MAX_IMAGE_PIXELS, PixelFormat
from serving.signatures import SERVING, EmbeddingModel

MODEL_NAME = "arcface"  # the name under which TF Serving offers the model, and the folder it is pushed to
EXTRA = "assets.extra"
METADATA_FILE = "model.json"
WARMUP_FILE = "tf_serving_warmup_requests"  # the name is TF Serving's
REFERENCE_FILE = "reference_embeddings.npy"
VERIFICATION_FILE = "verification.json"  # figures and thresholds, added when the model is pushed
_WARMUP_BATCHES = (1, 8)
_JSON = {str: "strings", dict: "objects"}


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """What a user of the exported model has to know about it.

    Attributes:
      backbone: name in the registry.
      options: arguments of `backbones.build` beside the name.
      embedding_dim: D.
      pixel_format: colour order and value range inside the graph; the input is image bytes whatever it says.
      classes: identities that it was trained on; 0 where that is not known.
      training: the settings of the training run, or where imported weights came from.
      image_size: height and width of the aligned faces that it expects; the graph resizes others, and says nothing.
      max_image_pixels: width x height of an image that the graph decodes at most.
    """

    backbone: str
    options: dict[str, Any]
    embedding_dim: int
    pixel_format: PixelFormat
    classes: int
    training: dict[str, Any]
    image_size: int = IMAGE_SIZE
    max_image_pixels: int = MAX_IMAGE_PIXELS

    def write(self, folder: str) -> None:
        """Writes `model.json`."""
        tf.io.gfile.makedirs(folder)
        with tf.io.gfile.GFile(os.path.join(folder, METADATA_FILE), "w") as f:
            json.dump(dataclasses.asdict(self), f, indent=2, sort_keys=True)

    def facts(self) -> dict[str, str]:
        """What a report says about the model, by a short name each."""
        return {
            "backbone": f"{self.backbone}, {self.embedding_dim} dimensions",
            "pixels": str(self.pixel_format),
            "trained on": f"{self.classes} identities" if self.classes else "see its source",
            "training": ", ".join(f"{name}={value}" for name, value in self.training.items()),
        }

    @classmethod
    def read(cls, folder: str) -> Self:
        """Reads the `model.json` of an exported model (in its `assets.extra`), of a training run or of an import.

        Raises:
          DataError: none of these, or the file is broken.
        """
        path = os.path.join(folder, METADATA_FILE)
        try:
            with tf.io.gfile.GFile(path) as f:
                values = json.load(f)
            found = cls(**{**values, "pixel_format": PixelFormat.from_dict(values["pixel_format"])})
            found._check()
            return found
        except (tf.errors.OpError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}: expected what this project writes about a model. Received: {error!r}") from error

    def _check(self) -> None:
        """Raises ValueError where a field is not what it is said to be."""
        for name, least in (("embedding_dim", 1), ("classes", 0), ("image_size", 1), ("max_image_pixels", 1)):
            value = getattr(self, name)
            if not is_number(value, int) or not least <= value < 2**31:
                raise ValueError(f"{name} must be a whole number of {least} to {2**31 - 1}, not {value!r}")
        for name, kind in (("backbone", str), ("options", dict), ("training", dict)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be of JSON's {_JSON[kind]}, not {getattr(self, name)!r}")
        for name in ("mean", "scale"):
            if not is_number(getattr(self.pixel_format, name)):
                raise ValueError(f"{name} must be a number, not {getattr(self.pixel_format, name)!r}")


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

    aside = f"{model_dir.rstrip('/')}.writing-{os.getpid()}"
    tf.saved_model.save(model, aside, signatures=model.signatures())
    extra = os.path.join(aside, EXTRA)
    metadata.write(extra)
    with tf.io.gfile.GFile(os.path.join(extra, REFERENCE_FILE), "wb") as f:
        np.save(f, reference)
    _write_warmup(os.path.join(extra, WARMUP_FILE), probes)
    for path in filter(tf.io.gfile.exists, beside):
        tf.io.gfile.copy(path, os.path.join(extra, os.path.basename(path)))
    if tf.io.gfile.exists(model_dir):
        tf.io.gfile.rmtree(model_dir)
    tf.io.gfile.rename(aside, model_dir)


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
