"""A SavedModel whose network another engine computes; the graph around it, up to the pixels, is TensorFlow's."""

import multiprocessing
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from arcface_common.artifacts import EXTRA, REFERENCE_FILE
from arcface_common.errors import in_short
from arcface_common.features import EMBEDDING, IMAGE_BYTES, PixelFormat
from arcface_common.model_metadata import ModelMetadata
from serving.embedding_probes import check_alike, probe_images
from serving.inference.engines import ENGINES, Compute
from serving.onnx_export import export_onnx
from serving.server.errors import Code, ServingError
from serving.server.servable import Servable
from serving.signatures import SERVING, EmbeddingModel

_saved = tf.compat.v1.saved_model


def open_servable(path: str, engine: str) -> Servable:
    """Loads a SavedModel that this project exported.

    Args:
      path: its folder.
      engine: a name of `ENGINES`.

    Raises:
      ServingError: it can't be loaded, or the engine gives other embeddings than the network gave at export.
    """
    servable = Servable(path, lambda _, folder: _graph_around(_compute(folder, engine), folder))
    try:
        with tf.io.gfile.GFile(os.path.join(path, EXTRA, REFERENCE_FILE), "rb") as f:
            expected = np.load(f)
        answer = servable.run(SERVING, {IMAGE_BYTES: np.array(probe_images(len(expected)), object)})
        check_alike(answer[EMBEDDING], expected, f"{path}, by {engine}")
    except Exception as error:
        servable.close()
        raise ServingError(Code.DATA_LOSS, f"{path}: can't be served: {in_short(error)}") from error
    return servable


def _compute(path: str, engine: str) -> Compute:
    """The network of a SavedModel. Keras, which knows its structure, has a process of its own: it leaves memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "network.onnx")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(export_onnx, path, file).result()
        return ENGINES[engine](file)


def _graph_around(compute: Compute, path: str) -> Mapping[str, Any]:
    """Puts `EmbeddingModel` into the default graph, with a call of `compute` as its network; its SignatureDefs."""
    metadata = ModelMetadata.read(os.path.join(path, EXTRA))
    network = _Network(compute, metadata.embedding_dim)
    as_they_are = PixelFormat("rgb", 0, 1)  # the ONNX file makes the network's own range of them
    model = EmbeddingModel(network, as_they_are, metadata.max_image_pixels)
    definitions = {}
    for name, function in model.signatures().items():
        specs = function.structured_input_signature[0]
        inputs = {spec.name: tf.compat.v1.placeholder(spec.dtype, spec.shape) for spec in specs}
        outputs = function(*inputs.values())
        definitions[name] = _saved.build_signature_def(_infos(inputs), _infos(outputs), "tensorflow/serving/predict")
    return definitions


class _Network:
    """See `serving.signatures.Network`."""

    def __init__(self, compute: Compute, dim: int) -> None:
        self.variables: dict[str, tf.Variable] = {}
        self._compute = compute
        self._dim = dim

    def __call__(self, pixels: tf.Tensor, *, training: bool) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(self._compute, [pixels], tf.float32), [None, self._dim])


def _infos(tensors: Mapping[str, tf.Tensor]) -> dict[str, Any]:
    return {name: _saved.build_tensor_info(tensor) for name, tensor in tensors.items()}
