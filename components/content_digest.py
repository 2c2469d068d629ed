"""What a data set's files hold, as a digest: the part of an ExampleGen's cache key that stands for its input.

TFX's own fingerprint is made of sizes and of modification times in whole seconds: it takes a copy for another data set,
and misses an edit within the second.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Sequence

from arcface_common import filesystem
from arcface_common.console import progress, say
from arcface_common.errors import DataError
from arcface_common.paths import check_regular

_CHUNK_BYTES = 1 << 26  # hashed by one thread at a time
_PIECE_BYTES = 1 << 18  # read at a time, into one buffer a thread: it stays in the core's cache
_SETTLED_SECONDS = 2.0  # a file that changed more recently could change again without another time stamp


class InputChangedError(DataError):
    """The files that were read aren't those whose digest was taken."""


def memo_path(work: str) -> str | None:
    """Where `content_digest` keeps what it knows; None without a local work folder."""
    return os.path.join(work, "digests.json") if work and filesystem.is_local(work) else None


def content_digest(paths: Sequence[str], memo: str | None = None) -> str:
    """A digest of some files' names (without folders) and contents, the same for a copy of them anywhere.

    Local files are read in full, on every core (hashlib lets go of the interpreter's lock): 2 GB/s a core, so that the
    disk decides. For other file systems it is the checksum that they keep themselves: no byte is read.

    Args:
      paths: existing files.
      memo: JSON file in which digests of local files are kept by path, size, inode and times in nanoseconds, so that an
        unchanged file is read once; None reads each time.

    Returns:
      32 hexadecimal digits.

    Raises:
      DataError: no file at all: such a digest would stand for any input. Or a pipe, a device ... in a file's place.
      OSError: a file cannot be read.
    """
    if not paths:
        raise DataError("expected files to take a digest of. Received: none")
    known = _Memo(memo)
    total = hashlib.sha256()
    for path in sorted(paths, key=os.path.basename):
        digest = known.digest(path) if filesystem.is_local(path) else filesystem.checksum(path)
        total.update(f"{os.path.basename(path)}\0{digest}\0".encode())
    known.save()
    return total.hexdigest()[:32]


def _file_digest(path: str) -> str:
    """SHA-256 over the SHA-256 of each 64 MiB of a local file, the chunks on all cores."""
    size = os.path.getsize(path)
    chunks = max(1, -(-size // _CHUNK_BYTES))

    def chunk_digest(chunk: int) -> bytes:
        digest = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:
            file.seek(chunk * _CHUNK_BYTES)
            piece = memoryview(bytearray(_PIECE_BYTES))
            left = _CHUNK_BYTES
            while left and (count := file.readinto(piece[: min(left, _PIECE_BYTES)])):
                digest.update(piece[:count])
                left -= count
        return digest.digest()

    total = hashlib.sha256()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(chunk_digest, range(chunks))
        for digest in progress(digests, total=chunks, description=f"digest {os.path.basename(path)}", unit="64 MiB"):
            total.update(digest)
    return total.hexdigest()


@dataclasses.dataclass
class _Memo:
    """Digests of files that have not changed since."""

    path: str | None
    _known: dict[str, list[int | str]] = dataclasses.field(default_factory=dict)
    _changed: bool = False

    def __post_init__(self) -> None:
        if not self.path or not os.path.exists(self.path):
            return
        try:
            known = json.loads(filesystem.read_file(self.path))
            if not isinstance(known, dict) or not all(isinstance(entry, list) for entry in known.values()):
                raise ValueError("no table of digests")
            self._known = known
        except ValueError as error:
            say(f"{self.path}: damaged, and thrown away; the files are read again ({error})")

    def digest(self, path: str) -> str:
        """Digest of a local file, read only if it isn't known."""
        place = os.path.realpath(path)
        check_regular(path)
        before = os.stat(place)
        state = [before.st_size, before.st_ino, before.st_mtime_ns, before.st_ctime_ns]
        known = self._known.get(place)
        if known and known[1:] == state:
            return str(known[0])
        digest = _file_digest(place)
        if time.time() - max(before.st_mtime, before.st_ctime) > _SETTLED_SECONDS:
            self._known[place] = [digest, *state]
            self._changed = True
        return digest

    def save(self) -> None:
        """Writes what was learned, aside first."""
        if self.path and self._changed:
            filesystem.write_file(self.path, json.dumps(self._known).encode(), os.path.dirname(self.path))
