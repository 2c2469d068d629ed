"""What shuffled reads of 6 KB records cost on a local disk with a cold page cache, and what announcing them gains.

Run it from the repository's root: `python -m benchmarks.cold_reads` (1.2 GB of disk). It prints what it writes to
`benchmarks/results/cold_reads.csv`. Before each row the file's pages are dropped (posix_fadvise), so that the disk is
asked. This is what `components/record_example_gen/source.py` rests on.
"""

import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import table

RECORD_BYTES = 6144
RECORDS = 200_000
SAMPLE = 20_000
AHEAD = 128  # as source.py announces


def read(path: Path, offsets: Sequence[int], ahead: int = 0) -> float:
    """Records/s in that order; with `ahead`, that many reads are announced together, one group ahead."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        begin = time.perf_counter()
        for number, offset in enumerate(offsets):
            if ahead and number % ahead == 0:
                for coming in offsets[number + ahead : number + 2 * ahead]:
                    os.posix_fadvise(fd, coming, RECORD_BYTES, os.POSIX_FADV_WILLNEED)
            os.pread(fd, RECORD_BYTES, offset)
        return len(offsets) / (time.perf_counter() - begin)
    finally:
        os.close(fd)


def measure() -> list[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    with tempfile.TemporaryDirectory(dir=table.RESULTS.parent.parent / "build") as folder:
        path = Path(folder) / "records"
        block = os.urandom(1 << 20)
        with path.open("wb") as file:
            for _ in range(RECORDS * RECORD_BYTES // len(block)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())  # pages that were not written yet cannot be dropped
        places = range(0, path.stat().st_size - RECORD_BYTES, RECORD_BYTES)
        shuffled = random.Random(1).sample(places, SAMPLE)
        rates = {
            "shuffled, one after the other": read(path, shuffled),
            "the same in ascending order": read(path, sorted(shuffled)),
            f"shuffled, {AHEAD} announced ahead": read(path, shuffled, AHEAD),
            "one sequential pass": read(path, places[: RECORDS // 2]),
        }
    return [(figure, f"{rate:.0f}", "records/s") for figure, rate in rates.items()]


if __name__ == "__main__":
    table.write("cold_reads", "python -m benchmarks.cold_reads", measure())
