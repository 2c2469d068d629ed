"""The heartbeat of a worker process: a file with its last step, whose time of change is that of the step.

Standard library only.
"""

import dataclasses
import os
import time

HEARTBEAT = "ARCFACE_TFX_HEARTBEAT"  # the environment variable with the file's path; unset, nobody watches


@dataclasses.dataclass(frozen=True)
class Beat:
    """A step that a worker has done.

    Attributes:
      step: its number.
      age_s: seconds since.
    """

    step: int
    age_s: float


def beat(step: int) -> None:
    """Notes that this process has done a step, 30 microseconds, if somebody watches."""
    path = os.environ.get(HEARTBEAT)
    if path is not None:
        with open(path, "w") as f:
            f.write(str(step))


def last_beat(path: str) -> Beat | None:
    """The last step that a worker noted; None before its first."""
    try:
        with open(path) as f:
            changed, text = os.fstat(f.fileno()).st_mtime, f.read()
    except FileNotFoundError:
        return None
    # An empty file is one that is being written.
    return Beat(int(text or 0), time.time() - changed)
