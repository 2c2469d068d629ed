"""Files and folders that get their name when they are complete, and folders for a while alone.

What a killed process left half-made is removed by the next that makes the same.

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

    Args:
      out: the folder that is to be made.
      replace: take the place of a folder that has the name.

    Yields:
      The folder, `.<name>.<random>.partial`.

    Raises:
      DataError: without `replace`, there is something of the name by now.
      OSError: of a full disk too, with the path of `out`.
    """
    with _partial(out) as partial:
        yield partial
        _take_name(partial, out, replace)


@contextlib.contextmanager
def file_aside(out: Path) -> Iterator[Path]:
    """A path beside `out`, to which the body writes a file; then it takes the name, and goes if the body fails.

    Args:
      out: the file that is to be made or replaced; the folders that it lies in are made too.

    Yields:
      The path, of the same name, in a folder of its own, which goes with all else that the body writes there.

    Raises:
      OSError: of a full disk too, with the path of `out`.
    """
    with _partial(out) as partial:
        yield partial / out.name
        os.replace(partial / out.name, out)


@contextlib.contextmanager
def _partial(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, held by a lock while the body runs; those that nobody holds go first."""
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
                with named_in_errors(out):
                    yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            return


@contextlib.contextmanager
def named_in_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Gives an OSError of the body that names no file this one: the kernel's "no space left" says not where."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None and not isinstance(error, BrokenPipeError):
            error.filename = os.fspath(path)
        raise


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
