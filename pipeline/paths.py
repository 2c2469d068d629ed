"""Paths of the command line, checked before anything slow is imported."""

import abc
import contextlib
import os
import stat
import tempfile
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from arcface_common.errors import DataError, did_you_mean

_KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class _Path(click.ParamType, abc.ABC):
    """A path that `check` accepts; a complaint names the option or argument, and the path."""

    name = "path"
    completes = "file"  # what a shell offers: "file" or "dir"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Has the shell complete it as a path."""
        return [CompletionItem(incomplete, type=self.completes)]

    @abc.abstractmethod
    def check(self, path: str) -> None:
        """Raises DataError or OSError if the path can't be used."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path as it was given.

        Raises:
          DataError: it can't be used.
        """
        try:
            self.check(value)
        except DataError as error:
            reason = str(error)
        except (OSError, ValueError) as error:  # ValueError: a NUL
            received = error.strerror if isinstance(error, OSError) else error
            reason = f"{_shown(value)}: expected a path that can be used. Received: {received}"
        else:
            return str(value)
        if param is None:
            raise DataError(reason)
        option = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
        raise DataError(f"{option}: {reason}")


class InputFile(_Path):
    """A regular file that can be read: a pipe would be waited for, without end."""

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        _expect(path, "a file")
        with open(path, "rb"):
            pass


class InputFolder(_Path):
    """A folder that can be listed."""

    completes = "dir"

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        _expect(path, "a folder")
        with os.scandir(path):
            pass


class Input(_Path):
    """A file or a folder that can be read."""

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        (InputFolder() if os.path.isdir(path) else InputFile()).check(path)


class InputOrList(Input):
    """A file or a folder that can be read, or `-` for names on standard input."""

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        if path != "-":
            super().check(path)


def check_data_files(folder: str) -> None:
    """Checks that what has a data file's name is a file: a pipe would be waited for, without end.

    Args:
      folder: a local data set; its `train.rec`, `train.idx`, `property`, `<set>.bin` and `<set>.csv` are looked at.

    Raises:
      DataError: names the first that is something else, or leads nowhere.
      OSError: one that can't be read.
    """
    for name in sorted(os.listdir(folder)):
        if not name.startswith(".") and name.endswith(("train.rec", "train.idx", "property", ".bin", ".csv")):
            InputFile().check(os.path.join(folder, name))


class OutputFile(_Path):
    """A file that can be written, new or in place of another file, maybe of certain endings alone."""

    def __init__(self, endings: Sequence[str] = ()) -> None:
        """Keeps the endings.

        Args:
          endings: those that are taken, e.g. ".json", in whatever case; none takes all.
        """
        self._endings = tuple(endings)

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        if not path or path.endswith("/"):
            raise DataError(f"{_shown(path)}: expected the name of a file. Received: none")
        ending = os.path.splitext(path)[1]
        if self._endings and ending.lower() not in self._endings:
            raise DataError(
                f"{_shown(path)}: expected a name that ends in {' or '.join(self._endings)}. "
                f"Received: {ending or 'no ending'}{did_you_mean(ending, self._endings)}"
            )
        if _is_there(path):
            _expect(path, "a file")
        check_writable(os.path.dirname(path) or os.curdir)


class OutputFolder(_Path):
    """A folder that can be made, or that is there and can be written into."""

    completes = "dir"

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        if not path:
            raise DataError("expected a folder. Received: an empty name")
        check_writable(path)


def check_writable(folder: str) -> None:
    """Checks, without a trace, that a folder can be made and written into.

    Args:
      folder: a local path; it need not exist.

    Raises:
      DataError: it is no folder, lies below a file, or the file system takes no new file there.
      OSError: a name that the file system doesn't take.
    """
    above = os.path.abspath(folder)
    while not _is_there(above):
        above = os.path.dirname(above)
    _expect(above, "a folder")
    try:
        # A real file: `os.access` tells root that it may write to /proc. This one has no name where Linux can.
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        received = "" if above == folder else f"{_shown(above)}: "
        raise DataError(
            f"{_shown(folder)}: expected a folder that can be written to. Received: {received}{error.strerror}"
        ) from error


def _is_there(path: str) -> bool:
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


def _expect(path: str, expected: str) -> None:
    """Checks what a path leads to.

    Raises:
      DataError: something else than `expected`, or nothing.
      OSError: a name that the file system doesn't take.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        received = "a link to nothing" if os.path.islink(path) else f"no such {expected.removeprefix('a ')}"
        raise DataError(f"{_shown(path)}: expected {expected}. Received: {received}") from error
    received = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    if received != expected:
        raise DataError(f"{_shown(path)}: expected {expected}. Received: {received}")


def _shown(path: str) -> str:
    """A path as it stands, or quoted where it is empty or holds what a terminal doesn't show."""
    return path if path and path.isprintable() else repr(path)


class OneOf(click.Choice[str]):
    """A word of a list; click's own doesn't say which one is meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """What is wrong with a word that is not in the list."""
        return f"{super().get_invalid_choice_message(value, ctx)}{did_you_mean(str(value), map(str, self.choices))}"


class Number(click.FloatRange):
    """A number of a range; click's own takes NaN, which no comparison refuses, and infinity where an end is open."""

    def _describe_range(self) -> str:
        """The range in words; click's own says "x<=None" where it has no end."""
        return super()._describe_range() if self.min is not None or self.max is not None else "a number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = super().convert(value, param, ctx)
        if not abs(number) < float("inf"):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return float(number)
