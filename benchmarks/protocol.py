"""How long the verification protocol takes on 6,000 pairs, against a transcription that loops over thresholds.

Run it from the repository's root: `python -m benchmarks.protocol`. It prints what it writes to
`benchmarks/results/protocol.csv`. Both sides compute from the same distances, in one process on one thread; each is
timed several times, and the shortest time counts, since whatever else the machine does only makes times longer.
"""

import csv
import importlib.util
import os
import platform
import subprocess
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from evaluator_custom.protocol import evaluate, pair_distances
from evaluator_custom.verification_statistics import bootstrap_accuracy

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "protocol.csv"
COMMAND = "python -m benchmarks.protocol"
PAIRS = 6000


def transcription() -> ModuleType:
    """The tests' module. By path, because `tests` is also the name of a package that some wheels install."""
    path = ROOT / "tests" / "evaluator_custom" / "test_protocol.py"
    spec = importlib.util.spec_from_file_location("protocol_transcription", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"Expected a Python module. Received: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def shortest(call: Callable[[], object], repeats: int) -> float:
    """Shortest of several durations, in milliseconds."""
    return 1000 * min(timeit.repeat(call, number=1, repeat=repeats))


def hardware() -> str:
    """The processor's model, or its architecture where the system does not tell, and the number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def commit() -> str:
    """Short hash of the commit that was measured, or "uncommitted"."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else "uncommitted"


def measure() -> list[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    reference = transcription()
    distances, same = reference.faces(PAIRS)
    reference.assert_equal(evaluate(distances, same), reference.published(distances, same))
    ours = shortest(lambda: evaluate(distances, same), 50)
    loops = shortest(lambda: reference.published(distances, same), 5)
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


def main() -> None:
    """Measures, writes the CSV and prints it."""
    where = (COMMAND, commit(), hardware())
    rows = [("figure", "value", "unit", "command", "commit", "hardware"), *((*row, *where) for row in measure())]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
