"""Checkpoints of a training that is under way: where it goes on after it was stopped or killed.

They lie beside the run's results, in a folder of the training's own: TFX removes what a failed node wrote. Each is a
folder "<step>" with `checkpoint/` and `curve.csv`; the newest two stay, since the newest may be damaged.
"""

import os
import shutil
from pathlib import Path

import tensorflow as tf

from arcface_common.aside import folder_aside
from arcface_common.console import say
from trainer_module.literal_paths import literal_path
from trainer_module.training import checkpoints
from trainer_module.training.curve import CURVE_FILE, Curve, read_curve
from trainer_module.training.state import TrainState

_KEPT = 2
_TENSORBOARD = "tensorboard"


def tensorboard_folder(work_dir: str, run_dir: str) -> str:
    """The folder of TensorBoard's events of a training that is under way."""
    return os.path.join(work_dir or run_dir, _TENSORBOARD)


def save(state: TrainState, curve: Curve, work_dir: str, step: int, *, is_chief: bool) -> None:
    """Writes a checkpoint aside, then renames it into place, and removes those that are too old.

    Every worker calls this, see `checkpoints.write`.

    Args:
      state: what training changes.
      curve: of the training so far.
      work_dir: see the module.
      step: optimizer steps that were done.
      is_chief: whether this process's copy is kept.
    """
    os.makedirs(work_dir, exist_ok=True)
    if not is_chief:
        checkpoints.write(state.checkpoint(), work_dir, is_chief)
        return
    with folder_aside(Path(_folder(work_dir, step)), replace=True) as aside:
        checkpoints.write(state.checkpoint(), str(aside), is_chief)
        curve.write(str(aside))
    for old in _steps(work_dir)[:-_KEPT]:
        shutil.rmtree(_folder(work_dir, old))


def resume(state: TrainState, work_dir: str) -> tuple[int, Curve]:
    """Puts the newest checkpoint that is whole into the state.

    Args:
      state: as training begins; changed where there is a checkpoint.
      work_dir: see the module; empty for none.

    Returns:
      Optimizer steps that were done, 0 where there is no checkpoint, and the curve until then.
    """
    for step in reversed(_steps(work_dir)):
        folder = _folder(work_dir, step)
        try:
            with literal_path(folder) as path:
                _read_all(checkpoints.path_in(path))
                with open(os.path.join(path, CURVE_FILE)) as file:
                    curve = Curve(read_curve(file.read()))
                state.checkpoint().read(checkpoints.path_in(path)).assert_consumed()
        except (OSError, ValueError, IndexError, tf.errors.OpError) as error:
            say(f"{folder}: expected a whole checkpoint; one before it is taken. Received: {type(error).__name__}")
            continue
        return step, curve
    return 0, Curve()


def finish(work_dir: str, run_dir: str) -> None:
    """Moves TensorBoard's events to the results of a training that has ended, and removes its folder."""
    if work_dir:
        shutil.move(tensorboard_folder(work_dir, run_dir), os.path.join(run_dir, _TENSORBOARD))
        shutil.rmtree(work_dir)


def _folder(work_dir: str, step: int) -> str:
    return os.path.join(work_dir, str(step))


def _steps(work_dir: str) -> list[int]:
    """The steps of the checkpoints, ascending."""
    names = os.listdir(work_dir) if os.path.isdir(work_dir) else []
    return sorted(int(name) for name in names if name.isdecimal())


def _read_all(prefix: str) -> None:
    """Reads every variable of a checkpoint, whose checksums TensorFlow compares: a state is filled whole or not."""
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
