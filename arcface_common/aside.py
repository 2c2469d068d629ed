"""Files and folders that get their name when they are complete, and folders for a while alone.

What a killed process left half-made is removed by the next that makes the same.

Standard library only, but for what is of this package.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from arcface_common.errors import DataError
from arcface_common.replaced import kept_environment, replaced

_LONGEST_NAME = 200  # bytes; a file system takes 255, and what stands around the name of a folder aside takes 23
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
      replace: take the place of a folder that has the name; of a link, that of the folder that it leads to.

    Yields:
      The folder, `.<name>.<random>.partial`.

    Raises:
      DataError: without `replace`, there is something of the name by now.
      OSError: of a full disk too, with the path of `out`.
    """
    target = _led_to(out) if replace else out
    with _partial(target) as partial:
        yield partial
        _take_name(partial, target, replace)


@contextlib.contextmanager
def file_aside(out: Path) -> Iterator[Path]:
    """A path beside `out`, to which the body writes a file; then it takes the name, and goes if the body fails.

    Args:
      out: the file that is to be made or replaced; the folders that it lies in are made too. A link stays, and what it
        leads to is replaced.

    Yields:
      The path, of the same name, in a folder of its own, which goes with all else that the body writes there.

    Raises:
      OSError: of a full disk too, with the path of `out`.
    """
    target = _led_to(out)
    with _partial(target) as partial:
        yield partial / out.name
        os.replace(partial / out.name, target)


def _led_to(out: Path) -> Path:
    """Where a link leads; what is no link as it is."""
    return Path(os.path.realpath(out)) if out.is_symlink() else out


@contextlib.contextmanager
def _partial(out: Path) -> Iterator[Path]:
    """A new folder beside `out`; those of killed processes go first."""
    out.parent.mkdir(parents=True, exist_ok=True)
    name = out.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    with _held(out.parent, f".{name}.", ".partial") as partial, named_in_errors(out):
        yield partial


@contextlib.contextmanager
def _held(parent: Path, prefix: str, suffix: str, mode: int = 0o777) -> Iterator[Path]:
    """A new folder, held by a lock while the body runs, which it goes with; those that nobody holds go first."""
    with contextlib.suppress(PermissionError):  # a folder that is written to, and not listed
        for name in os.listdir(parent):
            if name.startswith(prefix) and name.endswith(suffix):
                _remove_if_left(parent / name)
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(4)}{suffix}"
        folder.mkdir(mode)
        with _open(folder) as held:
            _lock(held, wait=True)
            if not folder.exists():  # another process took it for one that was left, a moment ago
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
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

    A small process of its own waits for that end, out of reach of Ctrl-C. If it is killed too, as a container's are,
    the next private folder's maker removes what was left.

    Yields:
      The folder.
    """
    with _held(Path(tempfile.gettempdir()), "arcface-tfx-", ".tmp", 0o700) as folder:
        remover = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _REMOVER, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        try:
            yield str(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            remover.communicate()


@contextlib.contextmanager
def temporary_files_aside() -> Iterator[None]:
    """Has `tempfile` put files into a private folder, for child processes too: libraries leave theirs behind.

    TensorFlow removes what AutoGraph wrote by `atexit`, which no signal lets it reach; Beam and TensorFlow
    Transform leave folders likewise.
    """
    with (
        private_folder() as folder,
        kept_environment({"TMPDIR": folder, **_for_matplotlib(folder)}),
        replaced(tempfile, "tempdir", folder),
    ):
        yield


def _for_matplotlib(folder: str) -> dict[str, str]:
    """The variable that names matplotlib's folder, where it can't have its own.

    Of itself it takes a temporary one then, and fails to remove it by `atexit`, when ours has gone.
    """
    given = os.environ.get("MPLCONFIGDIR")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if all(_takes_files(place) for place in ([given] if given else [config, cache])):
        return {}
    return {"MPLCONFIGDIR": os.path.join(folder, "matplotlib")}


def _takes_files(place: str) -> bool:
    """Whether files can be written into a folder, which need not exist yet."""
    above = os.path.abspath(place)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    try:
        # A real file: `os.access` tells root that it may write to /proc. This one has no name where Linux can.
        with tempfile.TemporaryFile(dir=above):
            return True
    except OSError:
        return False
