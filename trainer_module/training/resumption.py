"""Checkpoints of a training that is under way: where it goes on after it was stopped or killed.

They lie beside the run's results, in a folder of the training's own: TFX removes what a failed node wrote. Each is a
folder "<step>" with `checkpoint/` and `curve.csv`; the newest two stay, since the newest may be damaged. One that was
found so counts no more.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from arcface_common.aside import folder_aside
from arcface_common.console import say
from arcface_common.errors import DataError
from arcface_common.filesystem import folders_in, read_file
from trainer_module.literal_paths import literal_path
from trainer_module.training import checkpoints
from trainer_module.training.curve import CURVE_FILE, Curve, read_curve
from trainer_module.training.kept_steps import ENDED_FILE, kept_steps
from trainer_module.training.state import TrainState

_KEPT = 2
_REFUSED = ".refused"  # what a checkpoint's name ends in that no training can go on from
_TENSORBOARD = "tensorboard"


def tensorboard_folder(work_dir: str, run_dir: str) -> str:
    """The folder of TensorBoard's events of a training that is under way."""
    return os.path.join(work_dir or run_dir, _TENSORBOARD)


def save(state: TrainState, curve: str, work_dir: str, step: int) -> None:
    """Writes a checkpoint aside, then renames it into place, and removes those that are too old.

    Args:
      state: what training changes, or a copy of it.
      curve: of the training so far, as CSV.
      work_dir: see the module.
      step: optimizer steps that were done.

    Raises:
      DataError: it can't be written.
    """
    folder = _folder(work_dir, step)
    with checkpoints.named_in_errors(folder):
        os.makedirs(work_dir, exist_ok=True)
        with folder_aside(Path(folder), replace=True) as aside:
            checkpoints.write(state.checkpoint(), str(aside), is_chief=True)
            (aside / CURVE_FILE).write_text(curve)
        for old in kept_steps(work_dir)[:-_KEPT]:
            shutil.rmtree(_folder(work_dir, old))
        for refused in Path(work_dir).glob(f"*{_REFUSED}"):
            shutil.rmtree(refused)


def resume(
    create: Callable[[], TrainState], copy: Callable[[], TrainState], work_dir: str
) -> tuple[TrainState, int, Curve]:
    """Makes the state that a training goes on with: that of the newest checkpoint that is whole and fits, or a new one.

    Args:
      create: makes the state that a training begins with.
      copy: makes one with the same variables that is not split over replicas; the host's memory holds it for a moment.
      work_dir: see the module; empty for none.

    Returns:
      The state, the optimizer steps that were done, 0 where there is no checkpoint, and the curve until then.
    """
    _remove_unfinished(work_dir)
    state = create()
    steps = kept_steps(work_dir)
    for place, step in reversed(list(enumerate(steps))):
        folder = _folder(work_dir, step)
        then = f"the checkpoint of step {steps[place - 1]:,} is looked at" if place else "training begins anew"
        try:
            checkpoints.check_whole(folder)
            curve = _read_curve(os.path.join(folder, CURVE_FILE))
        except DataError as error:
            say(f"WARNING {error}; {then}")
            _set_aside(folder)
            continue
        try:
            with literal_path(folder) as path:
                whole = copy() if state.head.shards else state
                whole.checkpoint().read(checkpoints.path_in(path)).assert_consumed()
            if whole is not state:
                state.take(whole)
        except (AssertionError, ValueError) as error:
            say(f"WARNING {folder}: expected a checkpoint of this training. Received: another, {error}; {then}")
            _set_aside(folder)
            state = create()  # some of the variables are another training's now
            continue
        return state, step, curve
    return state, 0, Curve()


def finish(work_dir: str, run_dir: str) -> None:
    """Copies TensorBoard's events to the results of a training, and marks its folder as that of one that has ended.

    The folder stays until the results are recorded: who is killed before has the last step to take again, not all.
    """
    if work_dir:
        shutil.copytree(tensorboard_folder(work_dir, run_dir), os.path.join(run_dir, _TENSORBOARD))
        Path(work_dir, ENDED_FILE).touch()


def _read_curve(path: str) -> Curve:
    """The curve until a checkpoint.

    Raises:
      DataError: it is missing or damaged.
    """
    try:
        return Curve(read_curve(read_file(path).decode()))
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a whole file of a checkpoint. Received: no such file") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a whole file of a checkpoint. Received: a damaged one, {error}") from error


def _folder(work_dir: str, step: int) -> str:
    return os.path.join(work_dir, str(step))


def _set_aside(folder: str) -> None:
    """Takes a checkpoint out of those that count; it goes when the next one is written."""
    with contextlib.suppress(FileNotFoundError):  # another worker did
        os.rename(folder, f"{folder}{_REFUSED}")


def _remove_unfinished(work_dir: str) -> None:
    """Removes what kills left while checkpoints were written; nobody else trains here."""
    for name in folders_in(work_dir):
        if name.endswith(".partial"):
            shutil.rmtree(os.path.join(work_dir, name), ignore_errors=True)
