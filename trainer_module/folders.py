"""Folders that no killed process leaves behind: one that gets its name when it is complete, one for a while alone.

Standard library only.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Standard input ends when the owner does. Its children may write for a moment longer.
_REMOVER = """
import os, shutil, sys, time
sys.stdin.buffer.read()
for _ in range(25):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.lexists(sys.argv[1]):
        break
    time.sleep(0.2)
"""


@contextlib.contextmanager
def folder_aside(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, for the body to fill and to rename to `out`; it goes if it isn't renamed.

    What killed processes left of the same `out` is removed first: who lives holds a lock on its folder.

    Args:
      out: the folder that is to be made.

    Yields:
      The folder, `.<name>.<random>.partial`.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in os.listdir(out.parent):
        if name.startswith(f".{out.name}.") and name.endswith(".partial"):
            _remove_if_left(out.parent / name)
    while True:
        partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
        partial.mkdir()
        with _open(partial) as held:
            _lock(held, wait=True)
            if not partial.exists():  # another process took it for one that was left, a moment ago
                continue
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            return


def _remove_if_left(partial: Path) -> None:
    with contextlib.suppress(OSError), _open(partial) as held:
        if _lock(held, wait=False):
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _open(folder: Path) -> Iterator[int]:
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield held
    finally:
        os.close(held)


def _lock(held: int, *, wait: bool) -> bool:
    """Locks a folder; False where another has it, or the file system has no locks, where nothing is cleaned up."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def private_folder() -> Iterator[str]:
    """A new folder where `tempfile` puts them, for its owner alone; it goes with the process, however that ends.

    A small process of its own waits for that end, out of reach of Ctrl-C.

    Yields:
      The folder.
    """
    folder = tempfile.mkdtemp(prefix="arcface-tfx-")
    remover = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _REMOVER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        remover.communicate()
