"""Folders by their names: TensorFlow's readers of checkpoints and SavedModels take `[ ] * ?` for a pattern."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from arcface_common import filesystem
from arcface_common.aside import private_folder
from arcface_common.errors import DataError, in_short
from arcface_common.paths import check_folder_of_files

_GLOB_CHARACTERS = frozenset("[]*?\\")


@contextlib.contextmanager
def literal_path(folder: str) -> Iterator[str]:
    """A path of a folder without characters that mean something else than themselves; the folder's own if it has none.

    Args:
      folder: on this machine or another file system, where there is no help.

    Yields:
      The path, a symbolic link that goes with the body where it is not the folder's own.

    Raises:
      DataError: a pipe, a socket or a device lies in the folder, which TensorFlow would wait for.
    """
    if filesystem.is_local(folder):
        check_folder_of_files(folder)
    if not filesystem.is_local(folder) or not _GLOB_CHARACTERS & set(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        link = os.path.join(temporary, "folder")
        os.symlink(os.path.abspath(folder), link)
        yield link


@contextlib.contextmanager
def readable_folder(folder: str) -> Iterator[str]:
    """`literal_path`, or of a store that TensorFlow doesn't know, such as s3://, a copy that goes with the body."""
    if filesystem.is_local(folder) or folder.startswith("gs://"):
        with literal_path(folder) as path:
            yield path
        return
    with private_folder() as copy:
        filesystem.copy_folder(folder, copy)
        yield copy


def load_saved_model(folder: str) -> Any:
    """What `tf.saved_model.load` gives for a folder, whatever that is called and on any file system.

    Raises:
      DataError: a SavedModel that is not whole.
    """
    import tensorflow as tf  # the paths alone need none

    with _whole_saved_model(folder) as path:
        return tf.saved_model.load(path)


def signature_names(folder: str) -> set[str]:
    """Names of a SavedModel's signatures, without its variables and its functions.

    Raises:
      DataError: a SavedModel that is not whole.
    """
    from tensorflow.python.saved_model import loader_impl

    with _whole_saved_model(folder) as path:
        graphs = loader_impl.parse_saved_model(path).meta_graphs
    return {name for graph in graphs for name in graph.signature_def}


@contextlib.contextmanager
def _whole_saved_model(folder: str) -> Iterator[str]:
    """`readable_folder`, in whose body all that fails is the SavedModel's fault."""
    with readable_folder(folder) as path:
        try:
            yield path
        except Exception as error:  # a damaged graph or variable fails anywhere in TensorFlow
            raise DataError(f"{folder}: expected a whole SavedModel. Received: {in_short(error)}") from error
