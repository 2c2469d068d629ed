"""The steps of the checkpoints that a training can go on from. Starts no TensorFlow."""

import re

from arcface_common.filesystem import folders_in


def kept_steps(work_dir: str) -> list[int]:
    """The steps of the checkpoints below a folder, ascending; see `resumption`."""
    return sorted(int(name) for name in folders_in(work_dir) if re.fullmatch(r"[1-9]\d*", name))


def newest_step(work_dir: str) -> int:
    """The last of them; 0 where there is none."""
    return max(kept_steps(work_dir), default=0) if work_dir else 0
