"""What a training computes with, in a line for people."""

import os

import tensorflow as tf

from arcface_common.console import say
from arcface_common.gpus import Gpus


def say_devices(strategy: tf.distribute.Strategy, found: Gpus) -> None:
    """Says which devices TensorFlow uses, and that it leaves GPUs unused, where it does.

    Args:
      strategy: of the training.
      found: the GPUs of this machine.
    """
    names = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    if names:
        several = "s" if len(names) > 1 else ""
        say(f"  devices: {len(names)} GPU{several} ({', '.join(names)}), {type(strategy).__name__}")
        return
    cores = len(os.sched_getaffinity(0))
    hidden = f"; CUDA_VISIBLE_DEVICES hides {found.in_words()}" if found.hidden else ""
    say(f"  devices: CPU, {cores} core{'s' if cores > 1 else ''}{hidden}")
    if found.usable:
        say(
            f"WARNING TensorFlow doesn't use {found.in_words()}: it says why where the libraries speak (libraries.log "
            "of the run)"
        )
