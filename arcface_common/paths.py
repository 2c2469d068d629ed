"""What a path leads to: a named pipe in the place of a file would be waited for, without end."""

import os
import stat

from arcface_common.errors import DataError

_KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind(path: str) -> str:
    """What a local path leads to, e.g. "a named pipe".

    Raises:
      OSError: nothing, or a name that the file system doesn't take.
    """
    mode = os.stat(path).st_mode
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")


def expect(path: str, expected: str) -> None:
    """Checks what a path leads to.

    Raises:
      DataError: something else than `expected`, or nothing.
      OSError: a name that the file system doesn't take.
    """
    try:
        received = kind(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        received = "a link to nothing" if os.path.islink(path) else f"no such {expected.removeprefix('a ')}"
        raise DataError(f"{shown(path)}: expected {expected}. Received: {received}") from error
    _check(path, received, expected)


def check_file(path: str) -> None:
    """Checks that a path is a regular file that can be read.

    Raises:
      DataError: something else, or nothing.
      OSError: it can't be read.
    """
    expect(path, "a file")
    with open(path, "rb"):
        pass


def check_regular(path: str) -> None:
    """Checks that what is there is a regular file, before it is opened.

    Raises:
      DataError: it is something else.
      OSError: there is nothing.
    """
    _check(path, kind(path), "a file")


def _check(path: str, received: str, expected: str) -> None:
    if received != expected:
        raise DataError(f"{shown(path)}: expected {expected}. Received: {received}")


def check_folder_of_files(folder: str) -> None:
    """Checks that a folder, and those right below it, hold files and folders alone, for whoever else reads them.

    Args:
      folder: a local one; it need not exist. Hidden names and links to nothing are passed over.

    Raises:
      DataError: names the first that is something else.
    """
    places = [folder, *(path for path in _visible(folder) if os.path.isdir(path))]
    for path in (path for place in places for path in _visible(place)):
        if not os.path.isdir(path) and os.path.exists(path):
            check_regular(path)


def _visible(folder: str) -> list[str]:
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in names if not name.startswith(".")]


def shown(path: str) -> str:
    """A path as it stands, or quoted where it is empty or holds what a terminal doesn't show."""
    return path if path and path.isprintable() else repr(path)
