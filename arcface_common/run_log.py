"""The log of a run, for people: a line with its time for what happens, from every process of the run.

Standard library only. A command names the file in the environment, which its child processes inherit.
"""

import contextlib
import os
import time
from collections.abc import Iterator

RUN_LOG = "ARCFACE_TFX_RUN_LOG"


def note(text: str) -> None:
    """Appends text to the run's log, each of its lines with the time; nothing where no run keeps one."""
    path = os.environ.get(RUN_LOG)
    if path is None:
        return
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    lines = "".join(f"{now}  {line}".rstrip() + "\n" for line in text.splitlines() or [""])
    with contextlib.suppress(OSError):  # a full disk ends a run where results are written, not where it speaks of them
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, lines.encode(errors="backslashreplace"))  # one call: lines of two processes don't mix
        finally:
            os.close(file)


@contextlib.contextmanager
def logged_to(path: str) -> Iterator[None]:
    """Has `note` write to a file, here and in child processes; a new file is its owner's alone."""
    outer = os.environ.get(RUN_LOG)
    os.environ[RUN_LOG] = os.path.abspath(path)
    try:
        yield
    finally:
        if outer is None:
            del os.environ[RUN_LOG]
        else:
            os.environ[RUN_LOG] = outer
