"""The heartbeat of a worker process: a file with its last step, which its supervisor watches.

Both hold the file open, so that an emptied temporary folder costs nothing. Standard library only.
"""

import contextlib
import dataclasses
import functools
import os
import time

HEARTBEAT = "ARCFACE_TFX_HEARTBEAT"  # the environment variable with the file's path; unset, nobody watches
_DIGITS = 20


@dataclasses.dataclass(frozen=True)
class Beat:
    """A step that a worker has done.

    Attributes:
      step: its number.
      age_s: seconds since it was seen, by a clock that nobody sets.
    """

    step: int
    age_s: float


@functools.cache
def open_heartbeat() -> int | None:
    """The descriptor of this process's heartbeat; None if nobody watches."""
    path = os.environ.get(HEARTBEAT)
    return None if path is None else os.open(path, os.O_WRONLY)


def beat(step: int) -> None:
    """Notes that this process has done a step, some microseconds, if somebody watches."""
    descriptor = open_heartbeat()
    if descriptor is not None:
        os.pwrite(descriptor, f"{step:{_DIGITS}}".encode(), 0)


class Heartbeat:
    """A worker's heartbeat as its supervisor sees it, which looks at it from time to time.

    Attributes:
      path: the file, which is made, and which `close` removes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._seen: tuple[bytes, int] | None = None
        self._since = 0.0

    def last(self) -> Beat | None:
        """The last step that the worker noted; None before its first."""
        seen = os.pread(self._file, _DIGITS, 0), os.fstat(self._file).st_mtime_ns
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return Beat(int(seen[0]), time.monotonic() - self._since) if seen[0] else None

    def close(self) -> None:
        """Removes the file."""
        os.close(self._file)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path)
