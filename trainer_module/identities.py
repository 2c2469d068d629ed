"""The labels of a training's class centres, as `identities.txt` beside them has them. Starts no TensorFlow."""

from arcface_common import filesystem
from arcface_common.errors import DataError, cut


def read_identities(path: str) -> list[str]:
    """The label of each class, in the order of the classes.

    Raises:
      DataError: no text, or a label twice; names the file.
    """
    try:
        labels = filesystem.read_file(path).decode().split()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a label a line. Received: no text, {error.reason}") from error
    known = set[str]()
    for number, label in enumerate(labels, 1):
        if label in known:
            raise DataError(f"{path}: expected each label once. Received: {cut(label)} again, in line {number:,}")
        known.add(label)
    return labels
