"""Which verification sets `evaluate` is to judge a model by; they are checked before TensorFlow is imported."""

import os
from collections.abc import Iterable

from arcface_common.console import say
from arcface_common.errors import DataError, argument, did_you_mean
from arcface_common.features import VERIFICATION_SETS
from components.formats import pair_attributes

_ENDING = ".bin"


def find_sets(folder: str, wanted: str | None) -> dict[str, str]:
    """The `.bin` file of each set, checked.

    Args:
      folder: where the sets lie.
      wanted: comma-separated names; None for those of the usual four that are there, or else all that are there.

    Returns:
      Set -> file.

    Raises:
      DataError: a set that isn't there or none at all, or one that no model can be judged by.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: expected a folder of verification sets. Received: no such folder")
    there = sorted(name.removesuffix(_ENDING) for name in os.listdir(folder) if _is_set(folder, name))
    if wanted is None:
        names = [name for name in VERIFICATION_SETS if name in there] or there
        if names and names[0] not in VERIFICATION_SETS:
            say(f"sets: {', '.join(names)}, all that are in {folder}")
    else:
        names = [name.strip() for name in wanted.split(",")]
        if not all(names):
            raise DataError(f"{argument('sets')}: expected names of sets, comma-separated. Received: {wanted!r}")
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(f"{argument('sets')}: expected each set once. Received: {twice[0]!r} twice")
    missing = [name for name in names if name not in there]
    if missing or not names:
        file = os.path.join(folder, f"{missing[0] if missing else '<set>'}{_ENDING}")
        like = did_you_mean(missing[0], there) if missing else ""
        nothing = "no such file (`evaluate folder` takes one folder of faces an identity)"
        received = f"no such file; there are {', '.join(there)}{like}" if there else nothing
        raise DataError(f"{file}: expected a verification set. Received: {received}")
    paths = {name: os.path.join(folder, f"{name}{_ENDING}") for name in names}
    _check(paths.items())
    return paths


def _is_set(folder: str, name: str) -> bool:
    return name.endswith(_ENDING) and not name.startswith(".") and os.path.isfile(os.path.join(folder, name))


def _check(sets: Iterable[tuple[str, str]]) -> None:
    """Reads each set once, 0.3 s for 75 MB, so that a broken one is known before a network is loaded."""
    from arcface_common.protocol.support import MIN_PAIRS  # SciPy, seconds on a cold disk: after what names tell
    from components.formats import verification_bin

    for name, path in sets:
        pairs = len(verification_bin.read(path))
        if pairs < MIN_PAIRS:
            raise DataError(f"{path}: too few for the protocol: expected at least {MIN_PAIRS} pairs. Received: {pairs}")
        read_attributes(path, name, pairs)


def read_attributes(path: str, name: str, pairs: int) -> dict[str, list[str]]:
    """Column -> value of each pair; without the people's labels, which say nothing about a kind of face.

    The column `file` is among them: names of both images of a pair.

    Args:
      path: the set's `.bin`; its attributes may lie beside it in `<set>.csv`.
      name: of the set.
      pairs: N.

    Raises:
      DataError: attributes that don't fit the set.
    """
    file = os.path.join(os.path.dirname(path), pair_attributes.attributes_file(name))
    if not os.path.exists(file):
        return {}
    columns = pair_attributes.read_pair_attributes(file, pairs)
    return {column: values for column, values in columns.items() if column != pair_attributes.IDENTITY_COLUMN}
