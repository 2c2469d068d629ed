"""What a training computes with, and the memory that it takes there."""

import os

import tensorflow as tf

from arcface_common.console import say
from arcface_common.gpus import Gpus


def memory_in_use() -> dict[str, float]:
    """GB by name: what this process holds of the machine's memory, and the most that each GPU has held."""
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    found = {"memory_gb": resident / 1e9}
    for number in range(len(tf.config.list_logical_devices("GPU"))):
        found[f"gpu_{number}_memory_gb"] = tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"] / 1e9
    return found


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
