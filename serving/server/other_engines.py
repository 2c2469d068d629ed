"""A SavedModel whose network another engine computes; the graph around it, up to the pixels, is TensorFlow's."""

import multiprocessing
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from arcface_common.artifacts import EXTRA, REFERENCE_FILE
from arcface_common.errors import in_short
from arcface_common.features import EMBEDDING, IMAGE_BYTES
from serving.embedding_probes import check_alike, probe_images
from serving.inference.engines import ENGINES, Compute
from serving.server.errors import Code, ServingError
from serving.server.servable import Servable
from serving.signature_names import SERVING


def open_servable(path: str, engine: str) -> Servable:
    """Loads a SavedModel that this project exported.

    Args:
      path: its folder.
      engine: a name of `ENGINES`.

    Raises:
      ServingError: it can't be loaded, or the engine gives other embeddings than the network gave at export.
    """
    servable = Servable(path, lambda _, folder: _imported(folder, engine))
    try:
        with tf.io.gfile.GFile(os.path.join(path, EXTRA, REFERENCE_FILE), "rb") as f:
            expected = np.load(f)
        answer = servable.run(SERVING, {IMAGE_BYTES: np.array(probe_images(len(expected)), object)})
        check_alike(answer[EMBEDDING], expected, f"{path}, by {engine}")
    except Exception as error:
        servable.close()
        raise ServingError(Code.DATA_LOSS, f"{path}: can't be served: {in_short(error)}") from error
    return servable


def _imported(path: str, engine: str) -> Mapping[str, Any]:
    """Puts the graph around a SavedModel's network into the default graph; its SignatureDefs."""
    with tempfile.TemporaryDirectory() as folder:
        network, around = (os.path.join(folder, name) for name in ("network.onnx", "around.pb"))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(_write_parts, path, network, around).result()
        meta = tf.compat.v1.MetaGraphDef.FromString(Path(around).read_bytes())
        token = _registered(ENGINES[engine](network))
    for function in meta.graph_def.library.function:
        for node in function.node_def:
            if node.op == "PyFunc":
                node.attr["token"].s = token
    tf.import_graph_def(meta.graph_def, name="")
    return dict(meta.signature_def)


def _write_parts(*arguments: str) -> None:
    from serving.server.graph_around import write_parts  # in a process of its own alone: it leaves memory

    write_parts(*arguments)


def _registered(compute: Compute) -> bytes:
    """The name by which a PyFunc calls it, for as long as the default graph lives."""
    with tf.name_scope("network"):
        call = tf.numpy_function(compute, [tf.compat.v1.placeholder(tf.float32)], tf.float32)
    token: bytes = call.op.get_attr("token")
    return token
