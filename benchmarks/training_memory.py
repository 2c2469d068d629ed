"""Peak memory of a training step, against what `pipeline.checks.memory` expects before a run begins.

`python -m benchmarks.training_memory` writes benchmarks/results/training_memory.csv. Each case is a process of its own
that makes the network, the head and the optimizer as the Trainer does, and takes three steps on random pixels.
"""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks import memory, table

# Backbone, images per step, identities, and micro-batches where a step has several.
CASES: tuple[tuple[str, int, int, *tuple[int, ...]], ...] = (
    ("iresnet_tiny", 64, 500),
    ("iresnet_tiny", 512, 500),
    ("iresnet_tiny", 64, 85_742),
    ("iresnet18", 4, 10_000),
    ("iresnet18", 16, 10_000),
    ("iresnet18", 64, 10_000),
    ("iresnet18", 128, 10_000, 8),
    ("iresnet34", 4, 10_000),
    ("iresnet34", 16, 10_000),
    ("iresnet50", 4, 10_000),
    ("iresnet50", 16, 10_000),
    ("iresnet50", 32, 10_000),
    ("iresnet50", 128, 10_000, 8),
    ("iresnet50", 16, 85_742),
    ("iresnet100", 4, 10_000),
    ("iresnet100", 12, 10_000),
    ("mobilefacenet", 32, 10_000),
    ("mobilefacenet", 128, 10_000),
    ("mobilefacenet_mbf", 32, 10_000),
    ("mobilefacenet_mbf", 128, 10_000),
)


def peak(backbone: str, batch: int, classes: int, optimizer: str = "sgd", accumulate: int = 1) -> tuple[int, int]:
    """Bytes of resident memory after the imports, and at the peak of three steps, of a process of its own."""
    told = (backbone, str(batch), str(classes), optimizer, str(accumulate))
    command = [sys.executable, "-m", "benchmarks.training_memory", *told]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(answer[-2]), int(answer[-1])


def _measure_here(backbone: str, batch: int, classes: int, optimizer: str, accumulate: int) -> None:
    from benchmarks import steps

    before = memory.resident()
    told = {"backbone": backbone, "batch_size": batch, "optimizer": optimizer, "accumulate": accumulate}
    step = steps.steps(classes, steps.random_batches(batch, classes), **told)
    for _ in range(3):
        step()
    print(before, memory.peak())


def measure() -> Iterator[tuple[str, str, str]]:
    """Figure, value and unit of each case."""
    for backbone, batch, classes, *parts in CASES:
        imports, most = peak(backbone, batch, classes, accumulate=parts[0] if parts else 1)
        in_parts = "".join(f" in {count} micro-batches" for count in parts)
        name = f"{backbone}, batch of {batch}{in_parts}, {classes:,} identities"
        yield f"{name}: peak", f"{most / 1e9:.2f}", "GB"
        yield f"{name}: after the imports", f"{imports / 1e9:.2f}", "GB"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        name, batch, classes, optimizer, accumulate = sys.argv[1:]
        _measure_here(name, int(batch), int(classes), optimizer, int(accumulate))
    else:
        table.write("training_memory", "python -m benchmarks.training_memory", measure())
