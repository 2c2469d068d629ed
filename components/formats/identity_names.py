"""The names of a data set's identities, as `convert` writes them beside `train.rec`. The standard library alone."""

import os
import unicodedata

from arcface_common import filesystem
from arcface_common.artifacts import SKIPPED_FILE
from arcface_common.bounded_file import read_bounded
from arcface_common.errors import DataError

IDENTITIES = "identities.txt"  # lines "label TAB folder"; behind those of train.rec come those that are kept out
LONGEST_NAMES = 1 << 26  # bytes of it: 2 million names of 25 bytes; read, they take 0.5 GB
WITHOUT = "without the file, labels name the folders"


def identity_name(folder: str) -> str:
    """The name by which an identity is known in every folder: macOS writes "é" as two characters, others as one."""
    return unicodedata.normalize("NFC", folder)


def read_names(path: str) -> dict[int, str] | None:
    """Label -> name of its folder, from what `convert` wrote; None without the file.

    Raises:
      DataError: a line that is none, a label or name twice, or a name that is no single folder's.
    """
    if not filesystem.exists(path):
        return None
    names: dict[int, str] = {}
    known: set[str] = set()
    for number, line in enumerate(read_bounded(path, LONGEST_NAMES, "LONGEST_NAMES").split(b"\n"), 1):
        if not line:
            continue
        label, _, encoded = line.partition(b"\t")
        name = os.fsdecode(encoded)
        if not is_label(label.decode("latin-1")) or not is_folder_name(name):
            expected = f'"label TAB name", a name that a folder can have ({WITHOUT})'
            raise DataError(f"{path}, line {number}: expected {expected}. Received: {line[:80]!r}")
        if int(label) in names or identity_name(name) in known:
            raise DataError(f"{path}, line {number}: expected another label and name in each. Received: {line[:80]!r}")
        names[int(label)] = name
        known.add(identity_name(name))
    return names


def is_folder_name(name: str) -> bool:
    """Whether it is one that `convert` takes from a folder: a single part of a path, not hidden."""
    whole = 0 < len(os.fsencode(name)) < 256 and not name.startswith(".") and not any(x in name for x in "/\0\t\r")
    return whole and name != SKIPPED_FILE


def is_label(text: str) -> bool:
    """Whether it can be an identity's number."""
    return text.isascii() and text.isdigit() and len(text) < 11
