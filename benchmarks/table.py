"""The one form of the tables in `benchmarks/results/`: figure, value, unit, and where it comes from."""

import csv
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def write(name: str, command: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """Prints (figure, value, unit) rows and writes them to `results/<name>.csv`, with command, commit and hardware."""
    where = (command, _commit(), _hardware())
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("figure", "value", "unit", "command", "commit", "hardware"))
        for figure, value, unit in rows:
            print(f"{figure}: {value} {unit}")
            writer.writerow((figure, value, unit, *where))


def _hardware() -> str:
    """The processor's model, or its architecture where the system does not tell, and the number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _commit() -> str:
    """Short hash of the commit that was measured; "uncommitted" where tracked code differs from it."""
    answers = [
        subprocess.run(["git", *command], cwd=RESULTS.parent, capture_output=True, text=True, check=False)
        for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--", ":/*.py"])
    ]
    if any(answer.returncode for answer in answers) or answers[1].stdout.strip():
        return "uncommitted"
    return answers[0].stdout.strip()
