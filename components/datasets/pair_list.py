"""Lists of pairs as text: the files of each pair, whether they show one person, and what contradicts that.

A set whose labels are wrong gives figures that are wrong, and nobody sees it later. So a line that another one, the
folders or itself contradicts is an error; what is odd, and may be meant, is counted and said. Standard library only.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from arcface_common.artifacts import SKIPPED_FILE
from arcface_common.bounded_file import MAX_TABLE_BYTES, read_bounded
from arcface_common.errors import DataError
from components.datasets import pair_csv
from components.datasets.identity_folders import SUFFIXES, FileNames
from components.formats.identity_names import identity_name

_LONGEST_NAME = 100  # letters of a set's name; a file's name may have 255 bytes, "Split-" and ".tfrecord" among them


@dataclasses.dataclass(frozen=True)
class PairList:
    """A list of pairs, and the verification set that it becomes.

    Attributes:
      path: text. Either LFW's `pairs.txt`: a first line "folds n" or "n", then "name n1 n2" (same) and "name1 n1 name2
        n2" (different), which are files `name/name_0001.jpg`, `.jpeg` or `.png`. Or lines "path_a path_b 0|1", 1 for
        same. Fields are separated by tabs, or else by spaces. Or a CSV with a header, see
        `pair_csv`.
      name: the set becomes `<name>.bin`.

    Raises:
      DataError: a name that is no plain file name.
    """

    path: str
    name: str

    def __post_init__(self) -> None:
        check_set_name(self.name)


def check_set_name(name: str) -> None:
    """Checks a set's name: files are called by it.

    Raises:
      DataError: it is no plain file name, too long for one, or that of a file which is no set's.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise DataError(f"expected a set's name of letters, digits, _ and -. Received: {name!r}")
    if len(name) > _LONGEST_NAME:
        raise DataError(
            f"expected a set's name of at most {_LONGEST_NAME} letters, for files are called by it. "
            f"Received: {len(name)} letters, {name[:40]!r}..."
        )
    if f"{name}.csv" == SKIPPED_FILE:
        raise DataError(f"expected a set's name other than that of {SKIPPED_FILE}. Received: {name!r}")


class ListedPair(NamedTuple):
    """One line of a list.

    Attributes:
      line: its number, from 1.
      first: a file that exists.
      second: another one, or the same.
      same: whether they show one person.
    """

    line: int
    first: Path
    second: Path
    same: bool


def read_pairs(path: Path, folder: Path) -> list[ListedPair]:
    """The pairs in the list's order.

    Args:
      path: the list.
      folder: one folder an identity; where the files lie.

    Raises:
      DataError: no such list, no pair in it, a line that is none or contradicts another line, the folders or itself, a
        file that isn't there, or another number of pairs than LFW's first line says.
    """
    text = _text(path)
    lines = list(_lines(text))
    if not lines:
        raise DataError(f"{path}: expected a list of pairs. Received: no line")
    number, first = lines[0]
    names = FileNames()
    if not (len(first) <= 2 and all(map(_is_number, first))):
        header = pair_csv.find_header(path, text)
        rows = pair_csv.read_rows(path, text, header) if header else lines
        plain = [_plain_pair(path, n, fields, folder, names) for n, fields in rows]
        if not plain:
            raise DataError(f"{path}: expected a list of pairs. Received: a header alone")
        _check_consistent(path, plain, folder)
        return plain
    pairs = [_lfw_pair(path, n, fields, folder, names) for n, fields in lines[1:]]
    each = int(first[-1]) * (int(first[0]) if len(first) == 2 else 1)
    kinds = collections.Counter(pair.same for pair in pairs)
    if (kinds[True], kinds[False]) != (each, each) or not pairs:
        raise DataError(
            f"{path}, line {number}: expected {each} pairs of either kind, as that line says. "
            f"Received: {kinds[True]} same, {kinds[False]} different"
        )
    _check_consistent(path, pairs, folder)
    return pairs


def oddities(pairs: list[ListedPair], folder: Path) -> list[str]:
    """What may be meant and changes the figures, a line each for a person, with counts."""
    people = _People(folder)
    counts: collections.Counter[str] = collections.Counter()
    known = set()
    for pair in pairs:
        files = _files(pair)
        first, second = people.of(pair.first), people.of(pair.second)
        counts["listed more than once"] += files in known
        counts["of an image with itself, in which every network sees one person"] += len(files) == 1
        counts["marked as one person, of two folders"] += pair.same and len({first, second, None}) == 3
        counts[f"with an image outside of {folder}"] += None in (first, second)
        known.add(files)
    return [f"warning: {count:,} of {len(pairs):,} pairs {what}" for what, count in counts.items() if count]


def _check_consistent(path: Path, pairs: list[ListedPair], folder: Path) -> None:
    """Raises where a pair is both one person and two, by two lines or by its line and the folders."""
    people = _People(folder)
    known: dict[frozenset[str], ListedPair] = {}
    for pair in pairs:
        files = _files(pair)
        shown = f"{pair.first} and {pair.second}"
        other = known.setdefault(files, pair)
        if other.same != pair.same:
            kinds = [f"{'the same' if x.same else 'different people'} in line {x.line}" for x in (other, pair)]
            raise DataError(
                f"{path}, line {pair.line}: expected the kind that line {other.line} gives this pair. "
                f"Received: {' and '.join(kinds)} for {shown}"
            )
        person = people.of(pair.first)
        if not pair.same and (len(files) == 1 or (person is not None and person == people.of(pair.second))):
            what = "an image and itself" if len(files) == 1 else f"two images of {person!r}"
            raise DataError(f"{path}, line {pair.line}: expected different people. Received: {what}, {shown}")


class _People:
    """Says whose folder a file lies in, whatever links lead there.

    Args:
      folder: one folder an identity, each maybe a link.
    """

    def __init__(self, folder: Path) -> None:
        self._names = {os.path.realpath(x): identity_name(x.name) for x in folder.iterdir() if x.is_dir()}
        self._known: dict[Path, str | None] = {}

    def of(self, file: Path) -> str | None:
        """The name of an identity's folder, None where it is none of these."""
        if file.parent not in self._known:
            place = Path(os.path.realpath(file.parent))
            above = (self._names.get(str(x)) for x in (place, *place.parents))
            self._known[file.parent] = next((x for x in above if x is not None), None)
        return self._known[file.parent]


def _files(pair: ListedPair) -> frozenset[str]:
    """Which files a pair means, in whatever order and by whatever links."""
    return frozenset((os.path.realpath(pair.first), os.path.realpath(pair.second)))


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: expected a list of pairs. Received: no such file")
    try:
        return read_bounded(str(path), MAX_TABLE_BYTES, "MAX_TABLE_BYTES").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8. Received: {error}") from error


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number, from 1, and fields of each line that isn't blank."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, [x.strip() for x in line.strip().split("\t")] if "\t" in line.strip() else line.split()


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _plain_pair(path: Path, number: int, fields: list[str], folder: Path, names: FileNames) -> ListedPair:
    if len(fields) != 3 or fields[2] not in ("0", "1"):
        more = "; of paths with blanks, tabs part the columns, or a CSV with a header" if len(fields) > 3 else ""
        expected = f'"path_a path_b 0|1" (a list in LFW\'s form begins with a line such as "10 300"{more})'
        raise DataError(f"{path}, line {number}: expected {expected}. Received: {' '.join(fields)[:120]!r}")
    a, b = (_existing(path, number, [folder / x], names) for x in fields[:2])
    return ListedPair(number, a, b, fields[2] == "1")


def _lfw_pair(path: Path, number: int, fields: list[str], folder: Path, names: FileNames) -> ListedPair:
    if len(fields) not in (3, 4) or not all(map(_is_number, (fields[1], fields[-1]))):
        expected = '"name n1 n2" or "name1 n1 name2 n2"'
        raise DataError(f"{path}, line {number}: expected {expected}. Received: {' '.join(fields)[:120]!r}")
    people = (fields[0], fields[-2] if len(fields) == 4 else fields[0])
    a, b = (
        _existing(path, number, [folder / name / f"{name}_{int(n):04d}{suffix}" for suffix in SUFFIXES], names)
        for name, n in zip(people, (fields[1], fields[-1]), strict=True)
    )
    return ListedPair(number, a, b, len(fields) == 3)


def _existing(path: Path, number: int, candidates: list[Path], names: FileNames) -> Path:
    """The first candidate that exists, be it in another case or Unicode form."""
    for candidate in candidates:
        if (found := names.existing(candidate)) is not None:
            return found
    others = "".join(f" or {x.suffix}" for x in candidates[1:])
    raise DataError(f"{path}, line {number}: expected a file {candidates[0]}{others}. Received: no such file")
