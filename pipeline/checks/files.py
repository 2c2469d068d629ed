"""Paths: what is there, what can be read or written; the checks leave no trace."""

import contextlib
import os
import tempfile

from arcface_common.errors import DataError
from arcface_common.paths import check_file, expect, shown


def check_data_files(folder: str) -> None:
    """Checks that what has a data file's name is a file: a pipe would be waited for, without end.

    Args:
      folder: a local data set; its `train.rec`, `train.idx`, `property`, `identities.txt`, `<set>.bin` and `<set>.csv`
        are looked at.

    Raises:
      DataError: names the first that is something else, or leads nowhere.
      OSError: one that can't be read.
    """
    for name in sorted(os.listdir(folder)):
        if not name.startswith(".") and name.endswith(
            ("train.rec", "train.idx", "property", "identities.txt", ".bin", ".csv")
        ):
            check_file(os.path.join(folder, name))


def check_writable(folder: str) -> None:
    """Checks, without a trace, that a folder can be made and written into.

    Args:
      folder: a local path; it need not exist.

    Raises:
      DataError: it is no folder, lies below a file, or the file system takes no new file there.
      OSError: a name that the file system doesn't take.
    """
    above = os.path.abspath(folder)
    while not is_there(above):
        above = os.path.dirname(above)
    expect(above, "a folder")
    try:
        # A real file: `os.access` tells root that it may write to /proc. This one has no name where Linux can.
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        received = "" if above == folder else f"{shown(above)}: "
        raise DataError(
            f"{shown(folder)}: expected a folder that can be written to. Received: {received}{error.strerror}"
        ) from error


def is_there(path: str) -> bool:
    """Whether there is something of that name; unlike `os.path.lexists`, a name that can't be is an error.

    Raises:
      OSError: a name that the file system doesn't take.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def make_private(folder: str) -> None:
    """Makes a folder that its owner alone can enter; one that is there stays as it is.

    Raises:
      OSError: it can't be made.
    """
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)


def as_typed(path: str) -> str:
    """A path as a person would type it: relative where it lies below the working directory."""
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return path if relative.startswith(os.pardir) else relative
