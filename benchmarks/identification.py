"""How long 1:1 and 1:N figures of 20,000 images take once they are embedded, and how exact they are.

Run it from the repository's root: `python -m benchmarks.identification`. It prints what it writes to
`benchmarks/results/identification.csv`. The embeddings are random, 512 values, 10 images an identity, as of a model
that tells most of them apart; time and memory don't depend on what they are. Wall time is that of all cores and of
whatever else the machine does, CPU time the sum over threads.
"""

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from arcface_common.protocol.all_pairs import count_all_pairs, fuse
from arcface_common.protocol.gallery_search import search_gallery
from benchmarks import table

IMAGES, DIMENSIONS, IMAGES_PER_IDENTITY = 20_000, 512, 10
CHECKED = 4_000  # images whose 8 million pairs scikit-learn can sort in memory


def faces(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings, float32 [N, 512], and identities, int64 [N]."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) // IMAGES_PER_IDENTITY
    centres = rng.standard_normal((images // IMAGES_PER_IDENTITY, DIMENSIONS))
    raw = centres[labels] + 2.2 * rng.standard_normal((images, DIMENSIONS))
    return fuse(raw, raw), labels


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call gives, its wall time and its CPU time in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def peak_memory(call: Callable[[], Any]) -> int:
    """Most memory, MB, that a call ever holds of its own, numpy's included."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 1e6)


def measure() -> list[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    unit, labels = faces(IMAGES)
    pairs, wall, cpu = timed(lambda: count_all_pairs(unit, labels).figures())
    memory = peak_memory(lambda: count_all_pairs(unit, labels).figures())
    known = (np.arange(IMAGES) % IMAGES_PER_IDENTITY == 0) & (labels % 5 != 4)
    search, search_wall, search_cpu = timed(
        lambda: search_gallery(unit[known], labels[known], unit[~known], labels[~known]).figures()
    )
    some, some_labels = unit[:CHECKED], labels[:CHECKED]
    ours, ours_wall, _ = timed(lambda: count_all_pairs(some, some_labels).figures())
    (gap, compared), theirs_wall, _ = timed(lambda: largest_gap(some, some_labels, ours.tar_at_far))
    million = f"{(pairs.genuine + pairs.impostor) / 1e6:.0f} million pairs of {IMAGES:,} images"
    searches = f"{search.mated + search.nonmated:,} probes in {search.identities:,} identities"
    return [
        (f"all pairs, {million}, wall time", f"{wall:.1f}", "s"),
        (f"all pairs, {million}, CPU time", f"{cpu:.1f}", "s"),
        (f"all pairs, {million}, peak memory beside the embeddings", f"{memory}", "MB"),
        (f"1:N, {searches}, wall time", f"{search_wall:.2f}", "s"),
        (f"1:N, {searches}, CPU time", f"{search_cpu:.2f}", "s"),
        (f"TAR at FAR 1e-1..1e-6 to scikit-learn's, {CHECKED:,} images, largest of {compared}", f"{gap:.1e}", "TAR"),
        (f"scikit-learn / ours, {CHECKED:,} images", f"{theirs_wall / ours_wall:.0f}", "ratio"),
    ]


def largest_gap(unit: np.ndarray, labels: np.ndarray, tar_at_far: dict[float, float | None]) -> tuple[float, int]:
    """Largest difference of TAR to scikit-learn's ROC of all pairs in float64, and how many targets it is of."""
    a, b = np.triu_indices(len(unit), 1)
    scores = (unit.astype(np.float64) @ unit.T.astype(np.float64))[a, b]
    far, tar, _ = roc_curve(labels[a] == labels[b], scores, drop_intermediate=False)
    gaps = [abs(rate - tar[far <= target].max()) for target, rate in tar_at_far.items() if rate is not None]
    return max(gaps), len(gaps)


if __name__ == "__main__":
    table.write("identification", "python -m benchmarks.identification", measure())
