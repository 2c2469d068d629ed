"""What a training says of the devices that it computes with, where there is no GPU that TensorFlow finds."""

import os

import pytest
import tensorflow as tf

from arcface_common.gpus import Gpus
from trainer_module.training.devices import say_devices

pytestmark = pytest.mark.slow

_CORES = len(os.sched_getaffinity(0))
_CPU = f"  devices: CPU, {_CORES} core{'s' if _CORES > 1 else ''}"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Gpus(), [_CPU]),
        (Gpus(("NVIDIA L4",), hidden=True), [f"{_CPU}; CUDA_VISIBLE_DEVICES hides 1 GPU (NVIDIA L4)"]),
        (Gpus(("NVIDIA L4",), visible=1, obstacle="no driver"), [_CPU]),  # said before TensorFlow was imported
        (Gpus(("NVIDIA L4",), visible=1), [_CPU, "WARNING TensorFlow doesn't use 1 GPU (NVIDIA L4): it says why"]),
    ],
    ids=["no GPU", "hidden", "an obstacle that is known", "none that is known"],
)
def test_one_line_and_a_warning_for_a_gpu_that_is_left_unused(capsys, found, said):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow finds a GPU here")
    say_devices(tf.distribute.get_strategy(), found)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(beginning) for line, beginning in zip(lines, said, strict=True))
