"""MobileFaceNet from scratch on a few thousand real faces, with each normalisation and each loss.

`python -m benchmarks.real_faces FOLDER ROOT` writes benchmarks/results/real_faces.csv. FOLDER is a data set with
`lfw.bin`. Each cell is a run of its own in ROOT, where its summary stays: the same command goes on where it was
stopped. Names of cells after ROOT train these alone.

On one worker `sync_batch` is `batch`, so that it has no cell.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import table

COMMAND = "python -m benchmarks.real_faces FOLDER ROOT"
STEPS, BATCH = 200, 16
SETTINGS = {
    "backbone": "mobilefacenet",
    "batch_size": BATCH,
    "steps": STEPS,
    "warmup_steps": STEPS // 10,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.1,
}
MARGIN_WARMUP = {"margin_warmup_steps": STEPS * 6 // 10}
SCALE = {"scale": 16}
WITHOUT_MARGIN = {"normface": SCALE, "softmax": {}}  # what the others have would be an error
LOSSES = ("arcface", "cosface", "combined", "adaface", "magface", "curricularface", "normface", "softmax")
NORMS = ("batch", "batch_renorm", "group")
# Loss, norm, seed.
CELLS = (
    *(("arcface", norm, 1) for norm in NORMS),
    *((loss, "batch", 1) for loss in LOSSES[1:]),
    *(("arcface", norm, seed) for norm in ("batch", "group") for seed in (2, 3)),
)


def named(loss: str, norm: str, seed: int) -> str:
    """A cell's name, which is its file's."""
    return f"{loss}-{norm}-{seed}"


def settings(loss: str, norm: str, seed: int) -> dict[str, object]:
    """What is set in the section `train`."""
    own = WITHOUT_MARGIN.get(loss, SCALE | MARGIN_WARMUP)
    return {**SETTINGS, **own, "loss": loss, "norm": norm, "seed": seed}


def train(folder: Path, root: Path, cell: tuple[str, str, int]) -> None:
    """One run; its summary goes to `<cell>.json` in the root."""
    told = [f"--set=train.{name}={value}" for name, value in settings(*cell).items()]
    command = ["run", "--json", "--data", str(folder), "--root", str(root), "--set=evaluation.sets=lfw", *told]
    print(f"arcface-tfx {shlex.join(command)}", flush=True)
    answer = subprocess.run([sys.executable, "-m", "pipeline", *command], stdout=subprocess.PIPE, check=True, text=True)
    (root / f"{named(*cell)}.json").write_text(answer.stdout)


def rows(root: Path) -> Iterator[tuple[str, str, str]]:
    """Figure, value and unit of each cell that was trained."""
    for loss, norm, seed in CELLS:
        file = root / f"{named(loss, norm, seed)}.json"
        if file.exists():
            figures = json.loads(file.read_text())["verification"]["sets"]["lfw"]
            cell = f"{loss}, {norm}, seed {seed}, {STEPS} steps of {BATCH}"
            yield f"{cell}: lfw.accuracy", f"{figures['accuracy']:.4f}", f"+- {figures['accuracy_std']:.4f}"
            yield f"{cell}: area under the ROC", f"{figures['auc']:.4f}", ""


def main() -> None:
    """Trains what is missing, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("cells", nargs="*", choices=[[], *(named(*cell) for cell in CELLS)])
    given = parser.parse_args()
    given.root.mkdir(parents=True, exist_ok=True)
    for cell in CELLS:
        missing = not (given.root / f"{named(*cell)}.json").exists()
        if missing and (not given.cells or named(*cell) in given.cells):
            train(given.folder, given.root, cell)
    table.write("real_faces", COMMAND, rows(given.root))


if __name__ == "__main__":
    main()
