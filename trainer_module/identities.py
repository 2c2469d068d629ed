"""The labels of a training's class centres, as `identities.txt` beside them has them. Starts no TensorFlow."""

from arcface_common.bounded_file import read_bounded
from arcface_common.errors import DataError, cut

# 24 million labels of ten digits; WebFace260M has 4 million identities.
MAX_LABELS_BYTES = 1 << 28


def read_identities(path: str) -> list[str]:
    """The label of each class, in the order of the classes.

    Raises:
      DataError: no text, a label twice, or too large; names the file.
    """
    try:
        labels = read_bounded(path, MAX_LABELS_BYTES, "MAX_LABELS_BYTES").decode().split()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a label a line. Received: no text, {error.reason}") from error
    known = set[str]()
    for number, label in enumerate(labels, 1):
        if label in known:
            raise DataError(f"{path}: expected each label once. Received: {cut(label)} again, in line {number:,}")
        known.add(label)
    return labels
