"""Checkpoints of a training run: written by all workers together, read by one process without a strategy."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
import tf_keras

from arcface_common.errors import DataError, in_short
from trainer_module.gfile_aside import gfile_aside
from trainer_module.literal_paths import literal_path

_FOLDER = "checkpoint"
_NAME = "model"
_DATA = f"{_NAME}.data-"
_DAMAGE = (ValueError, IndexError, tf.errors.OpError)  # IndexError: a file that is cut short


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


def check_whole(run_dir: str) -> None:
    """Reads every variable of a checkpoint, whose checksums TensorFlow compares.

    Raises:
      DataError: names the file that is missing or damaged.
    """
    index = f"{path_in(run_dir)}.index"
    with literal_path(run_dir) as folder:
        try:
            reader = tf.train.load_checkpoint(path_in(folder))
        except _DAMAGE as error:
            raise DataError(f"{index}: {_damage(folder, os.path.basename(index))}") from error
        try:
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except _DAMAGE as error:
            files = tf.io.gfile.listdir(os.path.join(folder, _FOLDER))
            shards = {name.rpartition("-of-")[2] for name in files if name.startswith(_DATA)} or {"00001"}
            expected = [f"{_DATA}{shard:05}-of-{count}" for count in sorted(shards) for shard in range(int(count))]
            # TensorFlow doesn't tell which: one that isn't there, or else the smallest.
            name = min(expected, key=lambda one: (one in files, _size(folder, one) or 0))
            raise DataError(f"{os.path.join(run_dir, _FOLDER, name)}: {_damage(folder, name)}") from error


def read_backbone(
    backbone: tf_keras.Model, run_dir: str, layers: Mapping[str, tf_keras.layers.Layer] | None = None
) -> None:
    """Fills a backbone from a training run's checkpoint.

    Args:
      backbone: what is filled.
      run_dir: the training run's folder.
      layers: those that are filled alone, by their names in the checkpoint; None fills all.

    Raises:
      DataError: a file of it is missing or damaged, it lacks a variable of the backbone, or has one of another shape.
    """
    with _readable(run_dir, backbone.name) as prefix:
        part = backbone if layers is None else tf.train.Checkpoint(**layers)
        # First, or a line for each value that isn't read follows the error: 119 of an iresnet50.
        status = tf.train.Checkpoint(backbone=part).read(prefix).expect_partial()
        status.assert_existing_objects_matched()


def shapes(run_dir: str) -> dict[str, list[int]]:
    """The shapes of all that a training run's checkpoint holds, by name.

    Raises:
      DataError: there is no checkpoint.
    """
    with _readable(run_dir, "a training run or an import") as prefix:
        found: dict[str, list[int]] = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
        return found


def read_value(run_dir: str, name: str) -> np.ndarray:
    """One array of a training run's checkpoint.

    Raises:
      DataError: there is none, or it isn't whole.
    """
    with _readable(run_dir, "a training run") as prefix:
        found: np.ndarray = tf.train.load_checkpoint(prefix).get_tensor(name)
        return found


@contextlib.contextmanager
def _readable(run_dir: str, whose: str) -> Iterator[str]:
    """The checkpoint's prefix; says in our words what TensorFlow finds missing, other or damaged."""
    try:
        with literal_path(run_dir) as folder:
            yield path_in(folder)
    except (AssertionError, *_DAMAGE) as error:
        check_whole(run_dir)
        raise DataError(f"{path_in(run_dir)}: expected a checkpoint of {whose}. Received: {error}") from error


def _damage(folder: str, name: str) -> str:
    """What is wrong with a checkpoint's file."""
    size = _size(folder, name)
    received = "no such file" if size is None else "a damaged one" if size else "an empty one"
    return f"expected a whole file of a checkpoint. Received: {received}"


def _size(folder: str, name: str) -> int | None:
    path = os.path.join(folder, _FOLDER, name)
    return tf.io.gfile.stat(path).length if tf.io.gfile.exists(path) else None
