"""Folders by their names: TensorFlow's readers of checkpoints and SavedModels take `[ ] * ?` for a pattern."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from arcface_common.errors import DataError, in_short

_GLOB_CHARACTERS = frozenset("[]*?\\")


@contextlib.contextmanager
def literal_path(folder: str) -> Iterator[str]:
    """A path of a folder without characters that mean something else than themselves; the folder's own if it has none.

    Args:
      folder: on this machine or another file system, where there is no help.

    Yields:
      The path, a symbolic link that goes with the body where it is not the folder's own.
    """
    if "://" in folder or not _GLOB_CHARACTERS & set(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        link = os.path.join(temporary, "folder")
        os.symlink(os.path.abspath(folder), link)
        yield link


def load_saved_model(folder: str) -> Any:
    """What `tf.saved_model.load` gives for a folder, whatever that is called.

    Raises:
      DataError: a SavedModel that is not whole.
    """
    import tensorflow as tf  # the paths alone need none

    with literal_path(folder) as path:
        try:
            return tf.saved_model.load(path)
        except Exception as error:  # a damaged graph or variable fails anywhere in TensorFlow
            raise DataError(f"{folder}: expected a whole SavedModel. Received: {in_short(error)}") from error
