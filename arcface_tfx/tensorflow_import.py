"""Imports TensorFlow as the commands do: without what it says of this machine."""

import os
import sys

from arcface_common.console import noise_to
from pipeline.surroundings import settle_tensorflow


def set_environment() -> None:
    """What TensorFlow's library reads when it is loaded, as far as the caller has not said it."""
    # Not its errors either: on a processor without AVX-512, oneDNN calls it one that it lacks a kernel of uint8.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    settle_tensorflow()


def import_tensorflow() -> None:
    """Imports it, if that is still to be done, and has it look for devices: it speaks then, too.

    What it says elsewhere in Python is heard, its kernels are not. What would have been written to standard error by
    another thread meanwhile, 6 s, is lost.
    """
    if "tensorflow" in sys.modules:
        return
    set_environment()
    with noise_to(os.devnull):
        import tensorflow as tf

        tf.config.list_logical_devices()
