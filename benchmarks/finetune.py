"""What `run --init-from` with its default settings makes of a model, on few faces: as they are, and as a bad camera's.

`python -m benchmarks.finetune MODEL FOLDER ROOT` writes benchmarks/results/finetune.csv. MODEL is an import, FOLDER a
data set whose `lfw.bin` is of identities that aren't trained on. Runs and degraded faces lie in ROOT. What is done
there isn't done again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import degraded_faces, table

COMMAND = "python -m benchmarks.finetune MODEL FOLDER ROOT"
AS_THEY_ARE, DEGRADED = "as they are", "degraded"


def answer(*command: str) -> Any:
    """What a command prints as JSON."""
    told = [sys.executable, "-m", "pipeline", *command, "--json"]
    return json.loads(subprocess.run(told, stdout=subprocess.PIPE, check=True, text=True).stdout)


def compare(model: Path, data: Path, root: Path) -> Any:
    """Fine-tunes the model, and judges the result and the model by the same pairs: what `evaluate sets` answers."""
    known = root / "compared.json"
    if not known.exists():
        run = answer("run", "--init-from", str(model), "--data", str(data), "--root", str(root))
        found = answer("evaluate", "sets", run["model"], "--compare", str(model), "--data", str(data), "--sets", "lfw")
        known.write_text(json.dumps(found))
    return json.loads(known.read_text())["lfw"]


def rows(model: Path, folder: Path, root: Path) -> Iterator[tuple[str, str, str]]:
    """Figure, value and unit of each set of faces."""
    bad = root / "faces"
    if not bad.exists():
        degraded_faces.degrade(folder, bad)
    for name, data in ((AS_THEY_ARE, folder), (DEGRADED, bad)):
        found = compare(model, data, root / name.replace(" ", "_"))
        before = found["comparison"]["figures"]
        for when, figures in (("before", before), ("after", found)):
            yield (
                f"faces {name}, {when}: lfw.accuracy",
                f"{figures['accuracy']:.4f}",
                f"+- {figures['accuracy_std']:.4f}",
            )
            yield f"faces {name}, {when}: XNorm", f"{figures['xnorm']:.3f}", ""
        yield f"faces {name}: McNemar's p", f"{found['comparison']['mcnemar']['p_value']:.2g}", ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "folder", "root"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    given.root.mkdir(parents=True, exist_ok=True)
    table.write("finetune", COMMAND, rows(given.model, given.folder, given.root))
