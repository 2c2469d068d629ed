"""A SavedModel run by TensorFlow's C library, without TensorFlow's Python, whose import alone takes 5 s of CPU time.

The kernels are the same. The calls are those of tensorflow/c/c_api.h, which TensorFlow keeps stable.
"""

import ctypes
import functools
import importlib.util
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from arcface_common import filesystem
from arcface_common.errors import DataError
from serving.protos import message
from serving.signature_names import INIT
from trainer_module.literal_paths import readable_folder

_TAG = b"serve"
_STRING = 7  # TF_DataType
_DTYPES = {1: np.float32, 3: np.int32, 4: np.uint8, 9: np.int64, 10: np.bool_}
_STRING_BYTES = 24  # sizeof(TF_TString)
# A ConfigProto: graph_options.rewrite_options.disable_meta_optimizer. Grappler takes a second of CPU time before the
# first answer; the graph is folded already, and answers as fast without it.
_CONFIG = b"\x52\x05\x52\x03\x98\x01\x01"


class _Buffer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("free", ctypes.c_void_p))


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class GraphSession:
    """A loaded SavedModel; threads may call it at once.

    Attributes:
      signatures: what can be asked for, SignatureDefs by their names.
    """

    def __init__(self, folder: str) -> None:
        """Loads it.

        Args:
          folder: of the SavedModel, on any file system.

        Raises:
          DataError: a SavedModel that is not whole.
        """
        c = _library()
        self._folder = folder
        self._graph = ctypes.c_void_p(c.TF_NewGraph())
        meta = c.TF_NewBuffer()
        options = ctypes.c_void_p(c.TF_NewSessionOptions())
        with _status("expected a TensorFlow that knows its settings") as status:
            c.TF_SetConfig(options, _CONFIG, ctypes.c_size_t(len(_CONFIG)), status)
        try:
            with readable_folder(folder) as path, _status(f"{folder}: expected a whole SavedModel") as status:
                tags = (ctypes.c_char_p * 1)(_TAG)
                self._session = ctypes.c_void_p(
                    c.TF_LoadSessionFromSavedModel(options, None, path.encode(), tags, 1, self._graph, meta, status)
                )
            content = ctypes.string_at(meta.contents.data, meta.contents.length)
        except DataError:
            c.TF_DeleteGraph(self._graph)
            raise
        finally:
            c.TF_DeleteBuffer(meta)
            c.TF_DeleteSessionOptions(options)
        weakref.finalize(self, _close, os.getpid(), self._session, self._graph).atexit = False
        # TensorFlow takes a model without this file for one that has no variables, and fails when it is asked.
        index = os.path.join(folder, "variables", "variables.index")
        if b"VarHandleOp" in content and not filesystem.exists(index):
            raise DataError(f"{folder}: expected a whole SavedModel. Received: no variables/variables.index")
        signatures = _message("MetaGraphDef").FromString(content).signature_def
        self.signatures: Mapping[str, Any] = {name: signatures[name] for name in signatures if name != INIT}

    def run(self, signature: str, inputs: Mapping[str, Sequence[bytes]]) -> dict[str, np.ndarray]:
        """All outputs of a signature that takes strings.

        Args:
          signature: its name.
          inputs: name -> strings [N].

        Raises:
          DataError: what TensorFlow says of them.
        """
        c, definition = _library(), self.signatures[signature]
        names = sorted(definition.outputs)
        found = (ctypes.c_void_p * len(names))()
        with ExitStack() as stack:
            given = [stack.enter_context(_strings(values)) for values in inputs.values()]
            status = stack.enter_context(_status(f"{self._folder}: expected inputs that it takes"))
            c.TF_SessionRun(
                self._session,
                None,
                self._places(definition.inputs[name].name for name in inputs),
                (ctypes.c_void_p * len(given))(*given),
                len(given),
                self._places(definition.outputs[name].name for name in names),
                found,
                len(names),
                None,
                0,
                None,
                status,
            )
        return {name: _taken(ctypes.c_void_p(tensor)) for name, tensor in zip(names, found, strict=True)}

    def _places(self, names: Iterator[str]) -> Any:
        """TF_Outputs of tensors, "operation:index"."""
        apart = [name.partition(":") for name in names]
        places = [
            _Output(_library().TF_GraphOperationByName(self._graph, operation.encode()), int(index or 0))
            for operation, _, index in apart
        ]
        return (_Output * len(places))(*places)


def _close(process: int, session: ctypes.c_void_p, graph: ctypes.c_void_p) -> None:
    """Gives the memory back, in the process that loaded it: a forked one lacks the threads."""
    if os.getpid() != process:
        return
    c = _library()
    status = ctypes.c_void_p(c.TF_NewStatus())
    c.TF_CloseSession(session, status)
    c.TF_DeleteSession(session, status)
    c.TF_DeleteStatus(status)
    c.TF_DeleteGraph(graph)


@functools.cache
def _library() -> Any:
    """TensorFlow's library, from the package, which isn't imported for it."""
    package = importlib.util.find_spec("tensorflow")
    assert package is not None
    assert package.origin is not None
    c = ctypes.CDLL(str(Path(package.origin).parent / "libtensorflow_cc.so.2"))
    for name in (
        "NewGraph",
        "NewSessionOptions",
        "LoadSessionFromSavedModel",
        "NewStatus",
        "AllocateTensor",
        "TensorData",
    ):
        getattr(c, f"TF_{name}").restype = ctypes.c_void_p
    c.TF_GraphOperationByName.restype = ctypes.c_void_p
    c.TF_NewBuffer.restype = ctypes.POINTER(_Buffer)
    c.TF_Message.restype = ctypes.c_char_p
    c.TF_Dim.restype = ctypes.c_int64
    c.TF_TensorByteSize.restype = ctypes.c_size_t
    return c


@contextmanager
def _status(expected: str) -> Iterator[ctypes.c_void_p]:
    """A TF_Status for a call in the body.

    Raises:
      DataError: it says of the call that it failed.
    """
    c = _library()
    status = ctypes.c_void_p(c.TF_NewStatus())
    try:
        yield status
        if c.TF_GetCode(status):
            told = c.TF_Message(status).decode(errors="replace")
            raise DataError(f"{expected}. Received: {told.partition(chr(10))[0]}")
    finally:
        c.TF_DeleteStatus(status)


@contextmanager
def _strings(values: Sequence[bytes]) -> Iterator[ctypes.c_void_p]:
    """A TF_Tensor of strings [N]."""
    c = _library()
    size = (ctypes.c_int64 * 1)(len(values))
    tensor = ctypes.c_void_p(c.TF_AllocateTensor(_STRING, size, 1, ctypes.c_size_t(_STRING_BYTES * len(values))))
    data = c.TF_TensorData(tensor) or 0  # none where there is no string
    places = [ctypes.c_void_p(data + _STRING_BYTES * i) for i in range(len(values))]
    try:
        for place, value in zip(places, values, strict=True):
            c.TF_StringInit(place)
            c.TF_StringCopy(place, value, ctypes.c_size_t(len(value)))
        yield tensor
    finally:
        for place in places:
            c.TF_StringDealloc(place)
        c.TF_DeleteTensor(tensor)


def _taken(tensor: ctypes.c_void_p) -> np.ndarray:
    """The array in a TF_Tensor, which goes."""
    c = _library()
    try:
        shape = [c.TF_Dim(tensor, axis) for axis in range(c.TF_NumDims(tensor))]
        content = ctypes.string_at(c.TF_TensorData(tensor) or 0, c.TF_TensorByteSize(tensor))
        return np.frombuffer(content, _DTYPES[c.TF_TensorType(tensor)]).reshape(shape)
    finally:
        c.TF_DeleteTensor(tensor)


def _message(name: str) -> Any:
    return message("tf_serving", f"arcface_tfx.tf_serving.{name}")
