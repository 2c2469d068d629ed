"""A SavedModel as TF Serving holds one: a graph in a session of its own, which gives all its memory back when closed.

TensorFlow 2's loader makes Python functions of a graph's functions, which takes longer and leaves some of them behind.
"""

import ctypes
import gc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from arcface_common.errors import in_short
from serving.server.batching import Tensors
from serving.server.errors import Code, ServingError, invalid
from serving.server.signature import Signature, Spec
from serving.signature_names import INIT
from trainer_module.literal_paths import literal_path

_TAG = "serve"
# Puts a graph into the session, whose graph is the default one; its SignatureDefs by their names.
Build = Callable[[tf.compat.v1.Session, str], Mapping[str, Any]]


class Servable:
    """A loaded SavedModel.

    Attributes:
      path: its folder.
      signatures: by name.
    """

    def __init__(self, path: str, build: Build | None = None) -> None:
        """Loads it.

        Args:
          path: its folder.
          build: makes its graph; the SavedModel's own by default.

        Raises:
          ServingError: it can't be loaded.
        """
        self.path = path
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            with self._session.graph.as_default():
                definitions = (build or _saved_graph)(self._session, path)
        except Exception as error:
            self._session.close()
            raise ServingError(Code.DATA_LOSS, f"{path}: can't be loaded: {in_short(error)}") from error
        self._definitions = {
            name: definition for name, definition in definitions.items() if name != INIT and definition.outputs
        }
        self.signatures = {
            name: Signature(name, _specs(definition.inputs), _specs(definition.outputs), definition)
            for name, definition in self._definitions.items()
        }

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Computes all outputs of a signature; threads may call it at once.

        Raises:
          ServingError: what TensorFlow says about the inputs.
        """
        definition = self._definitions[signature]
        names = sorted(definition.outputs)
        try:
            values = self._session.run(
                [definition.outputs[name].name for name in names],
                {definition.inputs[name].name: array for name, array in inputs.items()},
            )
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), in_short(error)) from error
        except (ArithmeticError, ValueError, TypeError) as error:  # what Python refuses to feed
            raise invalid(str(error)) from error
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Gives the memory back, to the system, too. Nothing may run any more."""
        self._session.close()
        del self._session
        gc.collect()
        if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            trim(0)


def _saved_graph(session: tf.compat.v1.Session, path: str) -> Mapping[str, Any]:
    with literal_path(path) as folder:
        definitions: Mapping[str, Any] = tf.compat.v1.saved_model.load(session, [_TAG], folder).signature_def
    return definitions


def _specs(infos: Mapping[str, Any]) -> dict[str, Spec]:
    return {name: _spec(info) for name, info in sorted(infos.items())}


def _spec(info: Any) -> Spec:
    shape = tf.TensorShape(info.tensor_shape)
    sizes = None if shape.rank is None else tuple(shape.as_list())
    return Spec(np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype), info.dtype, sizes)
