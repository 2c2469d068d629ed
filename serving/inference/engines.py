"""Engines that compute an exported network in TensorFlow's place, from its ONNX file: OpenVINO and onnxruntime.

Nothing heavy is imported before an engine is asked for.
"""

import importlib.util
import queue
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arcface_common.errors import DataError

if TYPE_CHECKING:
    import numpy as np

TENSORFLOW = "tensorflow"
# float32 [N, 112, 112, 3], RGB, 0..255 -> raw embedding float32 [N, D]; threads may call it at once.
Compute = Callable[["np.ndarray"], "np.ndarray"]


def openvino(file: str, threads: int | None = None) -> Compute:
    """OpenVINO in float32: by itself it computes in bfloat16 where the processor can, which is 1e-2 off.

    Args:
      file: what `export --format onnx` writes.
      threads: that compute; all cores by default.
    """
    import openvino as ov

    core = ov.Core()
    model = ov.preprocess.PrePostProcessor(core.read_model(file))
    model.input().tensor().set_layout(ov.Layout("NHWC"))
    model.input().model().set_layout(ov.Layout("NCHW"))
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(model.build(), "CPU", options)
    # A request holds its own buffers, and answers one call at a time. None is kept by thread: TensorFlow's threads have
    # a new Python thread state for each call, and what ended with the last one was still read from (SIGSEGV).
    free = queue.LifoQueue[Any]()

    def compute(pixels: "np.ndarray") -> "np.ndarray":
        try:
            request = free.get_nowait()
        except queue.Empty:  # as many as there are calls at once
            request = compiled.create_infer_request()
        raw: np.ndarray = request.infer([pixels], share_inputs=True)[0]
        free.put(request)
        return raw

    return compute


def onnxruntime(file: str, threads: int | None = None) -> Compute:
    """Onnxruntime on the processor; arguments as for `openvino`."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def compute(pixels: "np.ndarray") -> "np.ndarray":
        raw: np.ndarray = session.run(None, {name: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})[0]
        return raw

    return compute


ENGINES: dict[str, Callable[..., Compute]] = {"openvino": openvino, "onnxruntime": onnxruntime}


def check_installed(engine: str) -> None:
    """Checks that an engine's package is there, without importing it.

    Args:
      engine: TENSORFLOW, or a name of `ENGINES`.

    Raises:
      DataError: it isn't.
    """
    if importlib.util.find_spec(engine) is None:
        raise DataError(
            f"--engine {engine}: expected the package {engine}; `pip install arcface-tfx[{engine}]` brings it. "
            "Received: an environment without it"
        )
