"""Attributes of a verification set's images, as an optional CSV beside its `.bin`.

The header names the columns. `image` is the position of an image in the `.bin`'s list of 2N images, from 0 (pair i is
images 2i and 2i + 1); every other column is an attribute: group, age, device, anything. Every image has a row. An empty
cell means that the value isn't known. The column `identity` is special: it holds labels of the training set's kind, by
which people who occur in both are found, and makes no slices. Nor does the column `file`: the image's name, which a
report shows with the worst pairs.
"""

import csv
import io
import os
from collections.abc import Sequence

from arcface_common.bounded_file import MAX_TABLE_BYTES, read_bounded
from arcface_common.errors import DataError
from arcface_common.name_text import ESCAPES

IMAGE_COLUMN = "image"
IDENTITY_COLUMN = "identity"
FILE_COLUMN = "file"
BETWEEN = " / "  # between the two values of a pair whose images differ


class PairAttributesError(DataError):
    """A CSV is not what it should be; the message names the file and the line or image."""


def attributes_file(set_name: str) -> str:
    """Name of a set's CSV, e.g. "lfw.csv"."""
    return f"{set_name}.csv"


def read_columns(path: str | os.PathLike[str]) -> list[str]:
    """Names of a CSV's columns.

    Args:
      path: the file.

    Raises:
      PairAttributesError: no usable header.
      DataError: more than `MAX_TABLE_BYTES`.
      OSError: the file cannot be read.
    """
    return _parse(os.fspath(path))[0]


def read_pair_attributes(path: str | os.PathLike[str], pairs: int) -> dict[str, list[str]]:
    """Reads a CSV (UTF-8) of attributes.

    Args:
      path: the file.
      pairs: N, the number of pairs in the set.

    Returns:
      Column -> value of each of the N pairs: that of its images where both have the same, else both values, sorted,
      with " / " between them; "" where one of them isn't known. Of `file` both, in the pair's order.

    Raises:
      PairAttributesError: no column `image`, no or unusable other columns, a row that isn't whole, a position that is
        not one of 0..2N-1 or comes twice, an image without a row.
      DataError: more than `MAX_TABLE_BYTES`.
      OSError: the file cannot be read.
    """
    path = os.fspath(path)
    header, rows = _parse(path)
    images = _by_image(path, header, rows, 2 * pairs)
    return {
        column: [_of_pair(images[2 * i][place], images[2 * i + 1][place], column) for i in range(pairs)]
        for place, column in enumerate(header)
        if column != IMAGE_COLUMN
    }


def read_image_column(path: str | os.PathLike[str], column: str, images: int) -> list[str] | None:
    """Value of one column for each of the 2N images of a set; None without that column.

    Raises:
      PairAttributesError, DataError, OSError: as `read_pair_attributes`.
    """
    path = os.fspath(path)
    header, rows = _parse(path)
    of_images = _by_image(path, header, rows, images)
    return [row[header.index(column)] for row in of_images] if column in header else None


def write_identities(path: str | os.PathLike[str], labels: Sequence[int], files: Sequence[str]) -> None:
    """Writes a CSV that says who is on each image and what its file is called, and nothing else.

    Args:
      path: the file, replaced if it exists.
      labels: of the 2N images.
      files: their names, for people.
    """
    with open(path, "w", encoding="utf-8", errors=ESCAPES, newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow((IMAGE_COLUMN, IDENTITY_COLUMN, FILE_COLUMN))
        rows.writerows((place, *of) for place, of in enumerate(zip(labels, files, strict=True)))


def _parse(path: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row that isn't empty with the number of its last line."""
    content = read_bounded(path, MAX_TABLE_BYTES, "MAX_TABLE_BYTES")
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header, *rows = [(reader.line_num, row) for row in reader if row] or [(0, [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise PairAttributesError(f"{path}: expected a CSV in UTF-8. Received: {error}") from error
    names = header[1]
    if (
        IMAGE_COLUMN not in names
        or len(names) < 2
        or len(set(names)) != len(names)
        or any(not name or "=" in name for name in names)
    ):
        raise PairAttributesError(
            f"{path}: expected a header of different names, one of them {IMAGE_COLUMN!r}, at least one other, none "
            f"empty or with '='. Received: {names}"
        )
    return names, rows


def _by_image(path: str, header: list[str], rows: list[tuple[int, list[str]]], images: int) -> list[list[str]]:
    """Row of each image."""
    found: list[list[str] | None] = [None] * images
    place = header.index(IMAGE_COLUMN)
    for line, row in rows:
        if len(row) != len(header):
            raise PairAttributesError(f"{path}, line {line}: expected {len(header)} values. Received: {row}")
        if not row[place].strip().isdecimal() or len(row[place]) > 20 or int(row[place]) >= images:
            raise PairAttributesError(
                f"{path}, line {line}: expected the position of an image, 0..{images - 1}. Received: {row[place]!r}"
            )
        position = int(row[place])
        if found[position] is not None:
            raise PairAttributesError(
                f"{path}, line {line}: expected one row for each image. Received: another one for image {position}"
            )
        found[position] = [value.strip() for value in row]
    if missing := [position for position, row in enumerate(found) if row is None]:
        raise PairAttributesError(
            f"{path}: expected a row for each of the {images} images. "
            f"Received: none for image {missing[0]}, {len(missing)} missing in all"
        )
    return [row for row in found if row is not None]


def _of_pair(first: str, second: str, column: str) -> str:
    if column == FILE_COLUMN:
        return f"{first}{BETWEEN}{second}" if first and second else ""
    if first == second or not (first and second):
        return first if first == second else ""
    return BETWEEN.join(sorted((first, second)))
