"""How long the verification protocol takes on 6,000 pairs, against a transcription that loops over thresholds.

Run it from the repository's root: `python -m benchmarks.protocol`. It prints what it writes to
`benchmarks/results/protocol.csv`. Both sides compute from the same distances, in one process on one thread; each is
timed several times, and the shortest time counts, since whatever else the machine does only makes times longer.
"""

import timeit
from collections.abc import Callable

import numpy as np

from arcface_common.protocol.insightface import evaluate, pair_distances
from arcface_common.protocol.verification_statistics import bootstrap_accuracy
from benchmarks import table
from tests.arcface_common.protocol.published_protocol import assert_equal, faces, published

PAIRS = 6000


def shortest(call: Callable[[], object], repeats: int) -> float:
    """Shortest of several durations, in milliseconds."""
    return 1000 * min(timeit.repeat(call, number=1, repeat=repeats))


def measure() -> list[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    distances, same = faces(PAIRS)
    assert_equal(evaluate(distances, same), published(distances, same))
    ours = shortest(lambda: evaluate(distances, same), 50)
    loops = shortest(lambda: published(distances, same), 5)
    correct = evaluate(distances, same).correct
    bootstrap = shortest(lambda: bootstrap_accuracy(correct), 50)
    raw = np.random.default_rng(0).standard_normal((2, 2 * PAIRS, 512), dtype=np.float32)
    distancing = shortest(lambda: pair_distances(raw[0], raw[1]), 10)
    return [
        (f"loops over thresholds (accuracy and TAR), {PAIRS} pairs", f"{loops:.1f}", "ms"),
        (f"evaluate (accuracy, TAR, ROC, EER, bootstrap), {PAIRS} pairs", f"{ours:.2f}", "ms"),
        ("loops / evaluate", f"{loops / ours:.0f}", "ratio"),
        ("of which bootstrap of 10,000 resamples", f"{bootstrap:.2f}", "ms"),
        (f"pair_distances, {PAIRS} pairs of 512 values", f"{distancing:.0f}", "ms"),
    ]


if __name__ == "__main__":
    table.write("protocol", "python -m benchmarks.protocol", measure())
