"""What a command can't read: left out and listed in `skipped.csv`, or all named in one error. Standard library only."""

import csv
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from arcface_common.artifacts import SKIPPED_FILE
from arcface_common.errors import DataError
from arcface_common.name_text import ESCAPES

MOST_NAMED = 20  # in an error, which ends the reading there, and in the lines for a person


class Skipped:
    """Keeps account of what can't be used. At most `MOST_NAMED` stay in memory; the others are in the file.

    Args:
      folder: where `skipped.csv` appears with the first one; none is written where nothing may be left out, or without
        a folder.
      noun: what is read, in the plural.
      allowed: whether it may be left out (`--skip-bad`).

    Attributes:
      count: how many can't be used.
    """

    def __init__(self, folder: Path | None, noun: str, allowed: bool) -> None:
        self.count = 0
        self._path = folder / SKIPPED_FILE if folder else None
        self._noun = noun
        self._allowed = allowed
        self._first: list[tuple[str, str]] = []
        self._file: TextIO | None = None

    def note(self, what: str, reason: str) -> None:
        """Takes one.

        Args:
          what: a path, or another place.
          reason: "expected ... Received: ...".

        Raises:
          DataError: it may not be left out, and is the last that an error names.
        """
        self.count += 1
        if len(self._first) < MOST_NAMED:
            self._first.append((what, reason))
        if self._allowed and self._path:
            self._row(self._path, what, reason)
        elif not self._allowed and self.count == MOST_NAMED:
            raise self._error(f"{MOST_NAMED} {self._noun} or more", ", and reading ended with the last of these")

    def check(self) -> None:
        """Ends what has read everything.

        Raises:
          DataError: names all, where they may not be left out.
        """
        if self.count and not self._allowed:
            raise self._error(f"{self.count} of the {self._noun}", "")

    def first(self) -> str:
        """What ends an error where all was left out: the first of them, or nothing where there is none."""
        return f"; the first of {self.count:,}: {': '.join(self._first[0])}" if self._first else ""

    def lines(self) -> list[str]:
        """What was left out, for a person."""
        if not self.count:
            return []
        more = self.count - len(self._first)
        rest = [f"and {more:,} more"] if more else []
        where = f" ({SKIPPED_FILE})" if self._path else ""
        return [f"left out, {self._noun} that can't be used: {self.count:,}{where}"] + [
            f"  {line}" for line in (*map(": ".join, self._first), *rest)
        ]

    def _error(self, how_many: str, more: str) -> DataError:
        return DataError(f"{how_many} can't be used (--skip-bad leaves them out){more}: {'; '.join(self._by_reason())}")

    def _by_reason(self) -> list[str]:
        """The first of them, those of one reason together, which is then said once."""
        groups: dict[str, list[str]] = {}
        for what, reason in self._first:
            groups.setdefault(reason, []).append(what)
        return [f"{', '.join(of_one)}: {reason}" for reason, of_one in groups.items()]

    def _row(self, path: Path, what: str, reason: str) -> None:
        if self._file is None:
            self._file = open(path, "w", encoding="utf-8", errors=ESCAPES, newline="")
            csv.writer(self._file, lineterminator="\n").writerow(("what", "reason"))
        csv.writer(self._file, lineterminator="\n").writerow((what, reason))

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
