"""A SavedModel of this project as an ONNX file, of the very weights that are served."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf

from arcface_common.artifacts import EXTRA, REFERENCE_FILE
from arcface_common.aside import file_aside
from arcface_common.errors import DataError
from arcface_common.model_metadata import ModelMetadata
from serving.embedding_probes import check_alike, probe_images
from serving.inference import keras_steps, onnx_model, steps
from serving.inference.folding import fold
from serving.versions import resolve
from trainer_module import backbones
from trainer_module.data.images import decode_faces
from trainer_module.literal_paths import load_saved_model


def export_onnx(model: str, output: str) -> None:
    """Writes the network of a SavedModel as ONNX, once onnxruntime gives the embeddings that were recorded at export.

    Args:
      model: the SavedModel's folder, an import's, or a folder of versions, of which the latest is taken.
      output: the file; see `inference.onnx_model` for its input and output.

    Raises:
      DataError: no such model, one of before models were folded, or a layer that ONNX has no words for.
      EmbeddingMismatchError: the file gives other embeddings.
    """
    path = resolve(model)
    metadata = ModelMetadata.read(os.path.join(path, EXTRA))
    network = _network(path, metadata)
    try:
        written = onnx_model.to_onnx(network, metadata.pixel_format, metadata.facts())
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    content = written.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    with tf.io.gfile.GFile(os.path.join(path, EXTRA, REFERENCE_FILE), "rb") as f:
        expected = np.load(f)
    pixels = decode_faces(tf.constant(probe_images(len(expected)))).numpy().transpose(0, 3, 1, 2)
    [raw] = session.run([onnx_model.RAW], {onnx_model.PIXELS: pixels.astype(np.float32)})
    check_alike(raw / np.linalg.norm(raw, axis=1, keepdims=True), expected, f"{output}, by onnxruntime")
    with file_aside(Path(output)) as aside:
        aside.write_bytes(content)


def _network(path: str, metadata: ModelMetadata) -> steps.Network:
    """The folded network: its structure by the backbone's name and options, its weights from the SavedModel.

    Raises:
      DataError: the SavedModel has other weights.
    """
    options = {**metadata.options, "embedding_dim": metadata.embedding_dim}
    network = fold(keras_steps.read(backbones.build(metadata.backbone, **options)))
    kept = getattr(load_saved_model(path), "weights", None)
    weights = dict(kept) if isinstance(kept, Mapping) else {}
    wanted = {name: array.shape for name, array in network.arrays().items()}
    found = {name: tuple(variable.shape) for name, variable in weights.items()}
    missing = [name for name, shape in wanted.items() if found.get(name) != shape]
    if missing:
        raise DataError(
            f"{path}: expected a SavedModel of this version, with the weights of {metadata.backbone} folded for "
            f"inference (export it anew). Received: no {missing[0]} {list(wanted[missing[0]])}"
        )
    return network.with_arrays({name: weights[name].numpy() for name in wanted})
