"""Folders that no killed process leaves behind: one that gets its name when it is complete, one for a while alone.

Standard library only, but for the errors.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from arcface_common.errors import DataError

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
def folder_aside(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder beside `out`, which the body fills; then it takes the name, and goes if the body fails.

    What killed processes left of the same `out` is removed first: who lives holds a lock on its folder.

    Args:
      out: the folder that is to be made.
      replace: take the place of a folder that has the name.

    Yields:
      The folder, `.<name>.<random>.partial`.

    Raises:
      DataError: without `replace`, there is something of the name by now.
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
                _take_name(partial, out, replace)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            return


def _take_name(partial: Path, out: Path, replace: bool) -> None:
    if replace and out.exists():
        old = partial.with_name(f"{partial.stem}.old{partial.suffix}")  # which the next try removes, after a kill
        out.rename(old)
        partial.rename(out)
        shutil.rmtree(old, ignore_errors=True)
        return
    try:
        partial.rename(out)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise DataError(
            f"{out}: expected a folder that doesn't exist yet. Received: one that another process has made meanwhile"
        ) from error


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
