"""The versions in a model's folder, as they are on disk."""

import os
from collections.abc import Mapping

from arcface_common import filesystem
from arcface_common.artifacts import IMPORTED_MODEL, SAVED_MODEL_FILE

# What tells whether a folder has changed: each file's path, and when it was last written.
Fingerprint = Mapping[str, float]
_LARGEST = 2**63 - 1


def versions(path: str) -> dict[int, str]:
    """Number -> folder of the versions in a folder.

    A SavedModel itself counts as one version, of the number that its folder is named, or else 1.

    Raises:
      OSError: the folder can't be read.
    """
    for model in (path, os.path.join(path, IMPORTED_MODEL)):
        if filesystem.exists(os.path.join(model, SAVED_MODEL_FILE)):
            return {_number(os.path.basename(os.path.abspath(model))) or 1: model}
    numbered = {_number(name): os.path.join(path, name) for name in filesystem.folders_in(path)}
    return {number: folder for number, folder in numbered.items() if number is not None}


def fingerprint(path: str) -> Fingerprint:
    """What a version's folder holds now; nothing where it goes while it is read."""
    try:
        return filesystem.times_below(path)
    except OSError:
        return {}


def _number(name: str) -> int | None:
    """A folder's name as TF Serving reads it: digits alone."""
    return int(name) if name.isascii() and name.isdigit() and int(name) <= _LARGEST else None
