"""The steps of the checkpoints that a training can go on from. Starts no TensorFlow."""

import os
import re
import shutil

from arcface_common.filesystem import folders_in

ENDED_FILE = "ended"  # in a training's folder: its results are whole, though nobody may have recorded them yet


def kept_steps(work_dir: str) -> list[int]:
    """The steps of the checkpoints below a folder, ascending; see `resumption`."""
    return sorted(int(name) for name in folders_in(work_dir) if re.fullmatch(r"[1-9]\d*", name))


def newest_step(work_dir: str) -> int:
    """The last of them; 0 where there is none."""
    return max(kept_steps(work_dir), default=0) if work_dir else 0


def has_ended(work_dir: str) -> bool:
    """Whether a training came to its end, so that it isn't to go on."""
    return os.path.exists(os.path.join(work_dir, ENDED_FILE))


def remove_ended(trainings: str) -> None:
    """Removes the folders of trainings that have ended. To be called once their results are recorded.

    Args:
      trainings: folder of the trainings' folders.
    """
    for name in folders_in(trainings):
        if has_ended(folder := os.path.join(trainings, name)):
            shutil.rmtree(folder)
