"""Small files of strangers that are read whole: none beyond a size, which is known before memory is taken for it."""

import os

from arcface_common import filesystem
from arcface_common.errors import DataError

# A set of 1 GiB has 170,000 images of 6 KB: 16 MiB are 98 bytes for each. Parsed, they take up to 1.5 GB.
MAX_TABLE_BYTES = 1 << 24


def read_bounded(path: str, most: int, limit: str) -> bytes:
    """The bytes of a file.

    Args:
      path: the file.
      most: bytes that it may have.
      limit: the name of that limit, for the message.

    Raises:
      DataError: the file is larger.
      OSError: the file cannot be read.
    """
    with filesystem.open_read(path) as file:
        size = file.seek(0, os.SEEK_END)
        _check(path, size, most, limit)
        file.seek(0)
        return file.read(size)  # not `most`: Python would take that much memory first


def check_size(path: str, most: int, limit: str) -> None:
    """Checks what `read_bounded` will, before all of a file is read for a digest: 20 GB take minutes.

    Raises:
      DataError: the file is larger.
      OSError: no such file.
    """
    _check(path, filesystem.size(path), most, limit)


def _check(path: str, size: int, most: int, limit: str) -> None:
    if size > most:
        raise DataError(f"{path}: expected a file of at most {most:,} bytes ({limit}). Received: {size:,} bytes")
