"""The one form of the tables in `benchmarks/results/`: figure, value, unit, and where it comes from."""

import csv
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


HEAD = ["figure", "value", "unit", "command", "commit", "hardware"]


def write(name: str, command: str, rows: Iterable[tuple[str, str, str]], in_parts: bool = False) -> None:
    """Prints (figure, value, unit) rows and writes them to `results/<name>.csv`, with command, commit and hardware.

    Args:
      name: of the table.
      command: that measured them.
      rows: figure, value and unit of each.
      in_parts: the rows that other commands wrote stay.
    """
    where = [command, _commit(), _hardware()]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    table = []
    if in_parts and path.exists():
        with path.open(newline="") as file:
            table = [row for row in csv.reader(file) if row != HEAD and row[HEAD.index("command")] != command]
    for figure, value, unit in rows:
        print(f"{figure}: {value} {unit}", flush=True)
        table.append([figure, value, unit, *where])
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([HEAD, *sorted(table, key=lambda row: row[HEAD.index("command")])])


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
