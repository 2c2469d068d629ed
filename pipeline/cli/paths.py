"""Paths and numbers of the command line, checked before anything slow is imported."""

import abc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from arcface_common.errors import DataError, did_you_mean
from arcface_common.paths import check_file, expect, shown
from pipeline.checks.files import check_writable, is_there
from pipeline.checks.secrets import refuse_secret_path
from serving.published import how_to_import
from serving.versions import find_network


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
        option = getattr(param, "human_readable_name", "path")
        if isinstance(param, click.Option):
            option = param.opts[0]
        if "://" in value:
            refuse_secret_path(option, value)
        try:
            self.check(value)
        except DataError as error:
            reason = str(error)
        except (OSError, ValueError) as error:  # ValueError: a NUL
            received = error.strerror if isinstance(error, OSError) else error
            reason = f"{shown(value)}: expected a path that can be used. Received: {received}"
        else:
            return str(value)
        if param is None:
            raise DataError(reason)
        raise DataError(f"{option}: {reason}")


class InputFile(_Path):
    """A regular file that can be read: a pipe would be waited for, without end."""

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        check_file(path)


class InputFolder(_Path):
    """A folder that can be listed."""

    completes = "dir"

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        expect(path, "a folder")
        with os.scandir(path):
            pass


class ModelFolder(InputFolder):
    """A folder of a model, a training run or an import; of a published model, a complaint says how it is imported."""

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        try:
            super().check(path)
        except DataError as error:
            raise DataError(f"{error}{how_to_import(path)}") from error


class Model(_Path):
    """A network that can be judged: an ONNX file, or a folder with a SavedModel in it."""

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        Input().check(path)
        find_network(path)


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


class OutputFile(_Path):
    """A file of certain endings that can be written, new or in place of an older one, as compilers write theirs.

    Its ending keeps a slip from costing what was never a command's output, such as a photo.
    """

    def __init__(self, endings: Sequence[str] = ()) -> None:
        """Keeps the endings.

        Args:
          endings: those that are taken, e.g. ".json", in whatever case; none takes all.
        """
        self._endings = tuple(endings)

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        if not path or path.endswith("/"):
            raise DataError(f"{shown(path)}: expected the name of a file. Received: none")
        ending = os.path.splitext(path)[1]
        if self._endings and ending.lower() not in self._endings:
            raise DataError(
                f"{shown(path)}: expected a name that ends in {' or '.join(self._endings)}. "
                f"Received: {ending or 'no ending'}{did_you_mean(ending, self._endings)}"
            )
        if is_there(path):
            expect(path, "a file")
        check_writable(os.path.dirname(path) or os.curdir)


class OutputFolder(_Path):
    """A folder that can be made, or that is there and can be written into."""

    completes = "dir"

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        if not path:
            raise DataError("expected a folder. Received: an empty name")
        check_writable(path)


def check_outside(option: str, path: str, folders: Sequence[str]) -> None:
    """Checks that a file isn't written among what is read: a model's own files, which a server watches, or faces.

    Args:
      option: that names the file.
      path: of the file.
      folders: that are read.

    Raises:
      DataError: it would be.
    """
    for folder in folders:
        if Path(folder).resolve() in Path(path).resolve().parents:
            raise DataError(f"{option}: expected a file outside of {folder!r}, which is read. Received: {path!r}")


class OneOf(click.Choice[str]):
    """A word of a list; click's own doesn't say which one is meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """What is wrong with a word that is not in the list."""
        return f"{super().get_invalid_choice_message(value, ctx)}{did_you_mean(str(value), map(str, self.choices))}"


class Whole(click.IntRange):
    """A whole number of a range, in the digits 0 to 9, as of a setting; click's own takes those of every script."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        return int(super().convert(_in_ascii(self, value, param, ctx), param, ctx))


class Number(click.FloatRange):
    """A number of a range; click's own takes NaN, which no comparison refuses, and infinity where an end is open."""

    def _describe_range(self) -> str:
        """The range in words; click's own says "x<=None" where it has no end."""
        return super()._describe_range() if self.min is not None or self.max is not None else "a number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = super().convert(_in_ascii(self, value, param, ctx), param, ctx)
        if not abs(number) < float("inf"):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return float(number)


def _in_ascii(kind: click.ParamType, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
    """What was typed, if a number of ours could be written so."""
    if isinstance(value, str) and not value.isascii():
        kind.fail(f"{value!r} is not a number in the digits 0 to 9.", param, ctx)
    return value
