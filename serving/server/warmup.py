"""What a version answers before it takes traffic: each signature in each batch size, and what it brings itself."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from arcface_common.artifacts import EXTRA, WARMUP_FILE
from serving.server.batching import Tensors
from serving.server.errors import Code, ServingError
from serving.server.servable import Servable
from serving.server.signature import Signature, Spec

_DEFAULT = "serving_default"
_FREE = 1  # what a dimension that may vary is, in drawn inputs
_MOST_RECORDS = 1000  # as TF Serving


def warm_up(servable: Servable, sizes: Sequence[int]) -> int:
    """Answers requests of all kinds, so that no client waits for kernels that are made at a first request.

    Inputs are rows of the requests in `assets.extra/tf_serving_warmup_requests`; of a signature without one, zeros,
    and for strings the first string of such a request.

    Args:
      servable: a version that nobody uses yet.
      sizes: of batches.

    Returns:
      How many requests of the file were answered.

    Raises:
      ServingError: it can't answer what it brings itself, or by numbers that aren't finite. Of drawn inputs a sound
        model, too, may make such: of a division by zero.
    """
    records = dict[str, Tensors]()
    count = 0
    for name, inputs in _records(servable.path):
        if name in servable.signatures and set(inputs) == set(servable.signatures[name].inputs):
            _check_finite(servable.path, name, servable.run(name, inputs))
            records.setdefault(name, inputs)
            count += 1
    strings = [value for inputs in records.values() for array in inputs.values() for value in _strings(array)]
    for name, signature in servable.signatures.items():
        drawn = records.get(name) or _drawn(signature, strings[0] if strings else b"")
        for size in sizes if signature.has_rows else (1,):
            try:
                servable.run(name, {key: np.resize(array, (size, *array.shape[1:])) for key, array in drawn.items()})
            except ServingError:  # drawn inputs needn't mean anything to it; what it brings was answered above
                if name in records:
                    raise
    return count


def _check_finite(path: str, name: str, outputs: Tensors) -> None:
    for output, array in outputs.items():
        if np.asarray(array).dtype.kind == "f" and not np.isfinite(array).all():
            reason = f"expected finite answers to its own requests for warm-up. Received: others, in {output} of {name}"
            raise ServingError(Code.DATA_LOSS, f"{path}: {reason}")


def _records(path: str) -> Iterator[tuple[str, Tensors]]:
    """Signature and inputs of the PredictRequests in a version's warm-up file.

    Raises:
      ServingError: the file is broken.
    """
    file = os.path.join(path, EXTRA, WARMUP_FILE)
    if not tf.io.gfile.exists(file):
        return
    try:
        for record in tf.data.TFRecordDataset(file).take(_MOST_RECORDS).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            yield request.model_spec.signature_name or _DEFAULT, inputs
    except Exception as error:
        raise ServingError(Code.DATA_LOSS, f"{file}: {error}") from error


def _strings(array: np.ndarray) -> list[bytes]:
    return array.ravel().tolist() if array.dtype == object else []


def _drawn(signature: Signature, string: bytes) -> dict[str, np.ndarray]:
    return {name: _of(spec, string) for name, spec in signature.inputs.items()}


def _of(spec: Spec, string: bytes) -> np.ndarray:
    shape = [_FREE if size is None else size for size in spec.shape or ()]
    return np.full(shape, string if spec.dtype == object else 0, spec.dtype)
