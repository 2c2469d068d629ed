"""Lists of pairs as CSV with a header, as notebooks and spreadsheets write them. Standard library only.

The columns that count are two of images and one that says whether both show one person; all others don't matter.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from arcface_common.errors import DataError

IMAGE_COLUMNS = (
    ("path_a", "path_b"),
    ("path1", "path2"),
    ("image_a", "image_b"),
    ("image1", "image2"),
    ("img1", "img2"),
    ("file1", "file2"),
)
SAME_COLUMNS = ("same", "is_same", "issame", "label")
VALUES = {"1": True, "0": False, "true": True, "false": False}

_MARKS = ",;\t"
_LONGEST_HEADER = 4096  # characters; csv gives up at 131,072 in a value
_KNOWN = f"{' or '.join(','.join(names) for names in IMAGE_COLUMNS)}, and {' or '.join(SAME_COLUMNS)}"


class Header(NamedTuple):
    """What a header says.

    Attributes:
      mark: what stands between two values.
      names: of all columns, in small letters.
      columns: where first image, second image and the flag are.
    """

    mark: str
    names: list[str]
    columns: tuple[int, int, int]


def find_header(path: Path, text: str) -> Header | None:
    """The header of a CSV, in whatever case; None for a list that is none.

    Args:
      path: of the list, for the message.
      text: what it holds.

    Raises:
      DataError: a line with commas or semicolons that is no pair, and lacks the columns.
    """
    number, first = next((n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip())
    for mark in _MARKS:
        names = [name.strip().casefold() for name in next(csv.reader([first[:_LONGEST_HEADER]], delimiter=mark))]
        if columns := _columns(names):
            return Header(mark, names, columns)
    is_pair = first.split()[-1] in ("0", "1") and len(first.replace("\t", " ").split()) >= 3
    if is_pair or not any(mark in first for mark in ",;"):
        return None
    raise DataError(f"{path}, line {number}: expected a CSV's header with {_KNOWN}. Received: {first[:120]!r}")


def read_rows(path: Path, text: str, header: Header) -> Iterator[tuple[int, list[str]]]:
    """The rows below a header.

    Args:
      path: of the list, for the messages.
      text: what it holds.
      header: its header.

    Yields:
      The number of a row's last line, from 1, and both images' paths and "0" or "1".

    Raises:
      DataError: a row of another length or without a flag, or quotes that don't end; names the line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=header.mark, strict=True)
    try:
        rows = (row for row in reader if any(map(str.strip, row)))
        next(rows)
        for row in rows:
            where = f"{path}, line {reader.line_num}: expected"
            if len(row) != len(header.names):
                raise DataError(f"{where} {len(header.names)} values, one a column. Received: {len(row)}")
            first, second, same = (row[column].strip() for column in header.columns)
            if same.casefold() not in VALUES:
                column = header.names[header.columns[2]]
                raise DataError(f"{where} {', '.join(VALUES)} in the column {column!r}. Received: {same[:40]!r}")
            yield reader.line_num, [first, second, str(int(VALUES[same.casefold()]))]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: expected a CSV. Received: {error}") from error


def _columns(names: list[str]) -> tuple[int, int, int] | None:
    """Where the columns of a pair are; None where one is missing, or several could be meant."""
    images = [pair for pair in IMAGE_COLUMNS if set(pair) <= set(names)]
    same = [name for name in SAME_COLUMNS if name in names]
    if len(images) != 1 or len(same) != 1 or any(names.count(name) > 1 for name in (*images[0], *same)):
        return None
    return names.index(images[0][0]), names.index(images[0][1]), names.index(same[0])
