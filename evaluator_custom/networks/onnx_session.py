"""ONNX files by onnxruntime, in bounded memory: 276 bytes of ConstantOfShape can ask for 100 GB."""

import functools
from pathlib import Path

import numpy as np
import onnxruntime

from arcface_common.errors import DataError
from trainer_module.weights import onnx_file

# Weights, and what the layers of 128 images of 112x112 pixels give: iresnet18 takes 1.9 GiB in all.
MAX_MEMORY = 4 << 30
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
# It runs what doesn't depend on the input while the file is opened, in memory of its own that has no limit.
_UNBOUNDED = ["ConstantFolding"]


class OnnxSession:
    """A network of unknown origin, whose nodes get no more memory than `MAX_MEMORY`."""

    def __init__(self, path: str) -> None:
        """Opens the file.

        Raises:
          DataError: no ONNX file, one that isn't what it says, or that onnxruntime doesn't open.
        """
        onnx_file.load(Path(path), with_data=False)
        _limit_memory()
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4  # what goes wrong is raised, too
        settings.add_session_config_entry("session.use_env_allocators", "1")
        providers = [name for name in _PROVIDERS if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(
                path, settings, providers=providers, disabled_optimizers=_UNBOUNDED
            )
        except Exception as error:  # onnxruntime has a dozen of them, without a base class
            raise DataError(f"{path}: expected an ONNX file that onnxruntime opens. Received: {error}") from error
        self.inputs = self._session.get_inputs()
        self.outputs = self._session.get_outputs()

    def run(self, output: str, name: str, batch: np.ndarray) -> np.ndarray:
        """What the output gives for a batch at the input of that name.

        Raises:
          Exception: onnxruntime's, where the network doesn't take the batch, or wants more memory than `MAX_MEMORY`.
        """
        return self._session.run([output], {name: batch})[0]


@functools.cache
def _limit_memory() -> None:
    """Makes the allocator that all sessions of this process share."""
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    # 1: it grows by what is asked for, not to the next power of two.
    arena = onnxruntime.OrtArenaCfg({"max_mem": MAX_MEMORY, "arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(info, arena)
