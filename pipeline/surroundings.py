"""What a command finds around it and must not be changed by: the shell's variables, streams and working folder."""

import importlib.util
import os

from arcface_common.console import CONSOLE_FD, LOG, open_standard_streams, output_is_closed, say
from arcface_common.errors import DataError
from arcface_common.run_log import RUN_LOG
from trainer_module.workers.cluster import past_proxies


def settle() -> None:
    """Makes streams and environment what all of a command's code and child processes expect."""
    open_standard_streams()
    for name in (CONSOLE_FD, LOG, RUN_LOG):
        os.environ.pop(name, None)  # what a parent told its children, and this is none of them
    os.environ["MPLBACKEND"] = "agg"  # a notebook names its own, which matplotlib then fails to import here
    for name in sorted({"TF_XLA_FLAGS", "XLA_FLAGS"} & set(os.environ)):
        say(f"{name}={os.environ[name]!r} is set: of a flag that it doesn't know, TensorFlow ends without a word")
    settle_tensorflow()
    past_proxies(os.environ)  # Beam's portable runner and TensorFlow's workers talk to this host by gRPC


def settle_tensorflow() -> None:
    """What TensorFlow reads when it is loaded, as far as nobody has said it."""
    # A process takes of a GPU's memory what it needs, and not all of it at once: several run beside each other.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # Without AVX-512 TensorFlow's default is its own kernels, with which a training step takes 1.3 times as long.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # tf.keras is what the networks are made of. Else TensorFlow imports Keras 3, with scikit-learn and matplotlib: 1 s
    # of CPU time in each process. Where the server alone is installed there is no tf_keras.
    if importlib.util.find_spec("tf_keras"):
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def check_surroundings() -> None:
    """Checks that there is a working folder, and something that takes what is printed.

    Python can't tell a relative path's place without the one. What went to the other would be lost without a word.

    Raises:
      DataError: the working folder was removed, or standard output is closed.
    """
    if output_is_closed():
        raise DataError(
            "standard output: expected one to write to (`> /dev/null` throws the words away). Received: a closed one"
        )
    try:
        os.getcwd()
    except OSError as error:
        raise DataError(f"expected a working folder that exists; `cd` to one. Received: {error.strerror}") from error
