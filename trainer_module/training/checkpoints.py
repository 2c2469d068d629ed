"""Checkpoints of a training run: written by all workers together, read by one process without a strategy."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import tensorflow as tf
import tf_keras

from arcface_common.errors import DataError, in_short
from trainer_module.gfile_aside import gfile_aside
from trainer_module.literal_paths import literal_path

_FOLDER = "checkpoint"
_NAME = "model"


def path_in(run_dir: str) -> str:
    """The checkpoint's prefix inside a training run's folder."""
    return os.path.join(run_dir, _FOLDER, _NAME)


def write(checkpoint: tf.train.Checkpoint, run_dir: str, is_chief: bool) -> None:
    """Writes a checkpoint aside, then renames it into place.

    Reading a variable that each worker holds a share of (batch-norm statistics) is a collective operation: so every
    worker calls this, and all but the chief throw their copy away.

    Args:
      checkpoint: with `backbone` and, for resuming, `head` and `optimizer`.
      run_dir: the training run's folder.
      is_chief: whether this process's copy is kept.
    """
    if is_chief:
        with gfile_aside(os.path.join(run_dir, _FOLDER)) as folder:
            checkpoint.write(os.path.join(folder, _NAME))
    else:
        with tempfile.TemporaryDirectory(dir=run_dir) as folder:
            checkpoint.write(os.path.join(folder, _NAME))


@contextlib.contextmanager
def named_in_errors(folder: str) -> Iterator[None]:
    """Names the folder in what keeps the body from writing a checkpoint: a full disk, say.

    Raises:
      DataError: in place of an OSError, or of TensorFlow's errors.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise DataError(f"{folder}: expected to write a checkpoint. Received: {in_short(error)}") from error


def read_all(run_dir: str) -> None:
    """Reads every variable of a checkpoint, whose checksums TensorFlow compares; it raises what it finds."""
    with literal_path(run_dir) as folder:
        reader = tf.train.load_checkpoint(path_in(folder))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)


def read_backbone(backbone: tf_keras.Model, run_dir: str) -> None:
    """Fills a backbone from a training run's checkpoint.

    Raises:
      DataError: there is no whole checkpoint, it lacks a variable of the backbone, or has one of another shape.
    """
    try:
        with literal_path(run_dir) as folder:
            status = tf.train.Checkpoint(backbone=backbone).read(path_in(folder))
            status.assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:  # IndexError: a file cut off
        raise DataError(f"{path_in(run_dir)}: expected a checkpoint of {backbone.name}. Received: {error}") from error
