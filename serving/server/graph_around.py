"""What a process of its own makes of a version for another engine: the network as ONNX, and the graph around it.

Tracing that graph and knowing the network's structure take Keras and TensorFlow's functions, which leave memory behind.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from arcface_common.artifacts import EXTRA
from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from serving.onnx_export import export_onnx
from serving.signatures import EmbeddingModel

_saved = tf.compat.v1.saved_model


def write_parts(path: str, network: str, around: str) -> None:
    """Writes two files.

    Args:
      path: a SavedModel that this project exported.
      network: the file of its network, in ONNX.
      around: the file of a MetaGraphDef with its signatures, in which a PyFunc stands for the network: float32
        [N, 112, 112, 3], RGB, 0..255 -> raw embedding float32 [N, D].

    Raises:
      DataError: it is no such SavedModel.
    """
    export_onnx(path, network)
    metadata = ModelMetadata.read(os.path.join(path, EXTRA))
    as_they_are = PixelFormat("rgb", 0, 1)  # the ONNX file makes the network's own range of them
    with tf.Graph().as_default() as graph:
        model = EmbeddingModel(_Network(metadata.embedding_dim), as_they_are, metadata.max_image_pixels)
        definitions = {name: _definition(function) for name, function in model.signatures().items()}
        meta = tf.compat.v1.train.export_meta_graph(graph=graph)
    for name, definition in definitions.items():
        meta.signature_def[name].CopyFrom(definition)
    Path(around).write_bytes(meta.SerializeToString())


class _Network:
    """See `serving.signatures.Network`."""

    def __init__(self, dim: int) -> None:
        self.variables: dict[str, tf.Variable] = {}
        self._dim = dim

    def __call__(self, pixels: tf.Tensor, *, training: bool) -> tf.Tensor:
        raw = tf.numpy_function(lambda pixels: pixels, [pixels], tf.float32)  # put in place by who imports the graph
        return tf.ensure_shape(raw, [None, self._dim])


def _definition(function: Any) -> Any:
    """Puts a call of a signature into the default graph; its SignatureDef."""
    specs = function.structured_input_signature[0]
    inputs = {spec.name: tf.compat.v1.placeholder(spec.dtype, spec.shape) for spec in specs}
    outputs = function(*inputs.values())
    return _saved.build_signature_def(_infos(inputs), _infos(outputs), "tensorflow/serving/predict")


def _infos(tensors: Mapping[str, tf.Tensor]) -> dict[str, Any]:
    return {name: _saved.build_tensor_info(tensor) for name, tensor in tensors.items()}
