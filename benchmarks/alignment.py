"""How fast faces are found and photos aligned, beside the package `mtcnn` as it comes.

Run it from the repository's root: `python -m benchmarks.alignment PHOTOS`, with a folder of photos, or of one folder of
them an identity. Both detectors have the same pixels and run in turn in one process; loading isn't counted. The whole
command, with its start, is measured by one process and by one a core.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from arcface_common.image_pixels import decode
from benchmarks import table
from components.alignment.mtcnn import Mtcnn
from components.alignment.photos import list_photos

COMPARED = 60  # photos that both detectors see
TURNS = 3


def photos_a_second(detect: Callable[[Sequence[np.ndarray]], object], photos: Sequence[np.ndarray]) -> float:
    """Of one pass over the photos."""
    begin = time.perf_counter()
    detect(photos)
    return len(photos) / (time.perf_counter() - begin)


def command(folder: str, processes: int) -> float:
    """Seconds of `arcface-tfx align` on the folder."""
    with tempfile.TemporaryDirectory() as out:
        call = [sys.executable, "-m", "pipeline", "align", folder, str(Path(out) / "crops"), f"--processes={processes}"]
        begin = time.perf_counter()
        subprocess.run(call, check=True, capture_output=True)
        return time.perf_counter() - begin


def measure(folder: str) -> Iterator[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    names = list_photos(folder).names
    shown = names[:: max(1, len(names) // COMPARED)][:COMPARED]
    photos = [decode((Path(folder) / name).read_bytes()) for name in shown]
    from mtcnn import MTCNN

    ours, package = Mtcnn(), MTCNN()

    def one_by_one(images: Sequence[np.ndarray]) -> None:
        for image in images:
            package.detect_faces(image)

    for detect in (ours, one_by_one):
        detect(photos[:4])  # the first calls build their graphs
    turns = [(photos_a_second(ours, photos), photos_a_second(one_by_one, photos)) for _ in range(TURNS)]
    height, width, _ = photos[0].shape
    yield (
        f"MTCNN here, {len(photos)} photos of {width}x{height}",
        f"{statistics.median(t[0] for t in turns):.1f}",
        "photos/s",
    )
    yield "the package mtcnn on TensorFlow", f"{statistics.median(t[1] for t in turns):.1f}", "photos/s"
    yield "MTCNN here / the package", f"{statistics.median(t[0] / t[1] for t in turns):.1f}", "ratio"
    for processes in sorted({1, len(os.sched_getaffinity(0))}):
        seconds = statistics.median(command(folder, processes) for _ in range(TURNS))
        what = f"align, {len(names)} photos, {processes} process{'es' if processes > 1 else ''}, with its start"
        yield what, f"{len(names) / seconds:.1f}", "photos/s"


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(f"expected a folder of photos. Received: {' '.join(sys.argv[1:])}")
    table.write("alignment", "python -m benchmarks.alignment PHOTOS", measure(sys.argv[1]))
