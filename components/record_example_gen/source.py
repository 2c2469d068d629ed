"""Images of a `.rec` file, read in the order of the plan, one read a record.

A shuffled order means random reads. What that costs depends on the storage: `benchmarks/cold_reads.py` measures records
of 6 KB from a cold page cache on a virtual SSD: one after the other 18,000 records/s, in ascending order 20,000, with
the next reads announced to the kernel (posix_fadvise) 76,000, against 108,000 for one sequential pass. So local files
are read in shuffled order with an announcement ahead, unless they are in the page cache: no byte is held back or
sorted. An object store answers a request in some 20 ms whatever its place: there, `_REQUESTS` reads are in flight.
"""

import collections
import concurrent.futures
import math
import os
import struct
from collections.abc import Iterator

import numpy as np

from arcface_common import filesystem
from arcface_common.errors import DataError
from arcface_common.ranges import open_ranges
from components.formats import recordio

_AHEAD = 128  # reads that are announced together: deep enough for an SSD, 128 x 6 KB = 0.8 MB of page cache
_PROBES = 8  # of them; an announcement costs 0.4 us, as much as 6 % of all that ingest does about a record
_REQUESTS = 32  # in flight to an object store: 32 / 20 ms = 1,600 records/s a process

# Magic, cflag and length; then MXNet's IRHeader: flag, label, and two numbers of 64 bits that nobody uses.
_HEAD = struct.Struct("<IIIf")
_PAYLOAD = _HEAD.size + 16  # where the image begins
_MAGIC = int.from_bytes(recordio.MAGIC, "little")


# One record: its key, its label as stored (a float32), the encoded image, and what is wrong with it: None, or a message
# that names the file, the key and the offset; then the label is NaN, and the bytes are what there is of the record. A
# plain tuple: naming its fields would cost 0.3 us of the 6 that a record takes.
ImageRecord = tuple[int, float, bytes, str | None]


class ImageSource:
    """Reads the records of a plan from a `.rec` file on any file system. For one thread at a time; `close` must follow.

    Args:
      path: the `.rec` file.

    Attributes:
      unnamed: key of each image behind which lies another one that the plan's index doesn't name, and that one's byte
        offset; as far as the bytes that were read for an image show it: of one beyond 64 KiB they don't.
    """

    def __init__(self, path: str) -> None:
        self.unnamed: list[tuple[int, int]] = []
        self._path = path
        self._reader = recordio.RecordReader(path)
        self._fd = os.open(path, os.O_RDONLY) if filesystem.is_local(path) else None

    def images(self, entries: np.ndarray) -> Iterator[ImageRecord]:
        """The records of a plan in its order.

        Args:
          entries: ENTRY [n].

        Yields:
          One record an entry.
        """
        chunks = self._local_chunks(entries) if self._fd is not None else self._remote_chunks(entries)
        for (key, offset, _), data in zip(entries.tolist(), chunks, strict=True):
            # The common form, whole and with one label, at once; any other by the reader that knows all. A length
            # below 2**29 leaves no bit for cflag: the record is whole.
            if len(data) >= _PAYLOAD:
                magic, length, flag, label = _HEAD.unpack_from(data)
                end = 8 + length
                if magic == _MAGIC and not flag and length < recordio.MAX_RECORD_BYTES and end <= len(data):
                    if end + 3 < len(data):  # more than padding
                        self._look_behind(key, offset, data, -(-end // 4) * 4)
                    yield key, label, data[_PAYLOAD:end], None
                    continue
            yield self._uncommon(key, offset, data)

    def _look_behind(self, key: int, offset: int, data: bytes, end: int) -> None:
        """Notes an image that begins at `end` of the bytes read at `offset`; identity records may lie there."""
        if data[end : end + 4] == recordio.MAGIC and recordio.image_at(self._reader, offset + end):
            self.unnamed.append((key, offset + end))

    def _local_chunks(self, entries: np.ndarray) -> Iterator[bytes]:
        fd = self._fd
        assert fd is not None
        places = list(zip(entries["offset"].tolist(), entries["length"].tolist(), strict=True))

        def announce(begin: int) -> None:
            coming = places[begin : begin + _AHEAD]
            if not all(_is_cached(fd, *place) for place in coming[:: _AHEAD // _PROBES]):
                for offset, length in coming:
                    os.posix_fadvise(fd, offset, length, os.POSIX_FADV_WILLNEED)

        announce(0)
        for begin in range(0, len(places), _AHEAD):
            announce(begin + _AHEAD)
            for offset, length in places[begin : begin + _AHEAD]:
                yield os.pread(fd, length, offset)

    def _remote_chunks(self, entries: np.ndarray) -> Iterator[bytes]:
        with (
            open_ranges(self._path, _REQUESTS) as read,
            concurrent.futures.ThreadPoolExecutor(_REQUESTS) as pool,
        ):
            flying: collections.deque[concurrent.futures.Future[bytes]] = collections.deque()
            try:
                for _, offset, length in entries.tolist():
                    flying.append(pool.submit(read, offset, length))
                    if len(flying) > 2 * _REQUESTS:
                        yield flying.popleft().result()
                while flying:
                    yield flying.popleft().result()
            finally:
                for future in flying:
                    future.cancel()

    def _uncommon(self, key: int, offset: int, data: bytes) -> ImageRecord:
        try:
            record = self._reader.read(offset, key=key)
        except (DataError, OSError) as error:
            return key, math.nan, data, str(error)
        self._look_behind(key, offset, data, self._reader.end - offset)
        return key, record.label, record.payload, None

    def close(self) -> None:
        """Closes the file."""
        self._reader.close()
        if self._fd is not None:
            os.close(self._fd)


def _is_cached(fd: int, offset: int, length: int) -> bool:
    """Whether all bytes there are in the page cache; False where the file system can't tell.

    All, since a record's first and last page often came with a neighbour's.
    """
    try:
        return os.preadv(fd, [bytearray(length)], offset, os.RWF_NOWAIT) == length
    except OSError:  # BlockingIOError: it would have to wait for the disk
        return False
