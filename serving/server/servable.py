"""A SavedModel as TF Serving holds one: a graph in a session of its own, which gives all its memory back when closed.

TensorFlow 2's loader makes Python functions of a graph's functions, which takes longer and leaves some of them behind.
"""

import ctypes
import dataclasses
import gc
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from arcface_common.errors import in_short
from serving.server.batching import Tensors
from serving.server.errors import Code, ServingError, invalid
from trainer_module.literal_paths import literal_path

_TAG = "serve"
_INIT = "__saved_model_init_op"  # TensorFlow's, among the signatures


@dataclasses.dataclass(frozen=True)
class Spec:
    """A tensor of a signature.

    Attributes:
      dtype: numpy's; object for strings.
      data_type: TensorFlow's number of it.
      shape: None for what may vary; None altogether where the rank may, too.
    """

    dtype: np.dtype
    data_type: int
    shape: tuple[int | None, ...] | None

    @property
    def has_rows(self) -> bool:
        """Whether the first dimension is free."""
        return bool(self.shape) and self.shape[0] is None

    def check(self, name: str, array: np.ndarray) -> None:
        """Checks an array's type and shape.

        Raises:
          ServingError: it is another.
        """
        fits = self.shape is None or (
            len(self.shape) == array.ndim
            and all(wanted in (None, size) for wanted, size in zip(self.shape, array.shape, strict=True))
        )
        if array.dtype != self.dtype or not fits:
            wanted = "any" if self.shape is None else [-1 if size is None else size for size in self.shape]
            raise invalid(
                f"input {name!r}: expected {kind(self.dtype)} {wanted}. "
                f"Received: {kind(array.dtype)} {list(array.shape)}"
            )


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a client can ask for.

    Attributes:
      name: that it is asked by.
      inputs: by the names that a client gives them.
      outputs: by theirs.
      definition: TensorFlow's SignatureDef.
    """

    name: str
    inputs: Mapping[str, Spec]
    outputs: Mapping[str, Spec]
    definition: Any

    @property
    def has_rows(self) -> bool:
        """Whether requests can be computed together: the first dimension of every tensor is free."""
        return bool(self.inputs) and all(spec.has_rows for spec in (*self.inputs.values(), *self.outputs.values()))


class Servable:
    """A loaded SavedModel.

    Attributes:
      path: its folder.
      signatures: by name.
    """

    def __init__(self, path: str) -> None:
        """Loads it.

        Raises:
          ServingError: it can't be loaded.
        """
        self.path = path
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            with self._session.graph.as_default(), literal_path(path) as folder:
                meta = tf.compat.v1.saved_model.load(self._session, [_TAG], folder)
        except Exception as error:
            self._session.close()
            raise ServingError(Code.DATA_LOSS, f"{path}: can't be loaded: {in_short(error)}") from error
        self._definitions = {
            name: definition for name, definition in meta.signature_def.items() if name != _INIT and definition.outputs
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
        except (ValueError, TypeError) as error:  # what Python refuses to feed
            raise invalid(str(error)) from error
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Gives the memory back, to the system, too. Nothing may run any more."""
        self._session.close()
        del self._session
        gc.collect()
        if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            trim(0)


def kind(dtype: np.dtype) -> str:
    """A dtype as a person reads it."""
    return "string" if dtype.hasobject else str(dtype)


def _specs(infos: Mapping[str, Any]) -> dict[str, Spec]:
    return {name: _spec(info) for name, info in sorted(infos.items())}


def _spec(info: Any) -> Spec:
    shape = tf.TensorShape(info.tensor_shape)
    sizes = None if shape.rank is None else tuple(shape.as_list())
    return Spec(np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype), info.dtype, sizes)
