"""Files and folders on TensorFlow's file systems that get their name when they are complete.

`arcface_common.aside` does the same for local ones, and `arcface_common.filesystem` for files of Beam's file systems.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def gfile_aside(path: str) -> Iterator[str]:
    """A path beside `path` where the body writes a file or folder; then it takes the name, and goes if the body fails.

    Args:
      path: of the file or folder that is to be made or replaced.

    Yields:
      The path, `.<name>.<random>.partial`.
    """
    folder, name = os.path.split(path.rstrip("/"))
    partial = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        if tf.io.gfile.isdir(path):
            tf.io.gfile.rmtree(path)
        tf.io.gfile.rename(partial, path, overwrite=True)
    finally:
        if tf.io.gfile.isdir(partial):
            tf.io.gfile.rmtree(partial)
        elif tf.io.gfile.exists(partial):
            tf.io.gfile.remove(partial)
