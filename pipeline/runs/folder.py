"""The folder that each run leaves, `runs/<run>/` below its root, as it is read back."""

import dataclasses
import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, Self

from arcface_common.bounded_file import read_bounded
from arcface_common.console import say
from arcface_common.errors import DataError, did_you_mean, is_number, parse_json_object
from arcface_common.filesystem import folders_in
from pipeline.runs import settings
from pipeline.runs.host import is_alive
from trainer_module.training.kept_steps import has_ended

RUNS = "runs"
LATEST = "latest"
SETTINGS_FILE = "settings.yaml"
SUMMARY_FILE = "summary.json"
LOG_FILE = "run.log"
NOISE_FILE = "libraries.log"
RUNNING, ENDED, FAILED, INTERRUPTED, KILLED = "running", "ended", "failed", "interrupted", "killed"
# A summary of four sets takes 10 KB; 16 MiB would be 400,000 slices.
_MOST_BYTES = 1 << 24


@dataclasses.dataclass(frozen=True)
class Run:
    """One run, as its folder tells.

    Attributes:
      folder: its folder.
      summary: content of `summary.json`, see `recording.Recording`.
      settings: the effective settings by dotted name, e.g. "train.steps".
    """

    folder: str
    summary: dict[str, Any]
    settings: dict[str, Any]

    @classmethod
    def read(cls, folder: str) -> Self:
        """Reads a run's folder.

        Raises:
          DataError: a file is missing, too large or damaged; names it.
        """
        path = os.path.join(folder, SUMMARY_FILE)
        summary = parse_json_object(_text(path), path)
        _check(summary, path)
        path = os.path.join(folder, SETTINGS_FILE)
        return cls(folder, summary, settings.flat(settings.load(_text(path), path)))

    @property
    def name(self) -> str:
        """The run's name: when it began, e.g. "20261124T073355"."""
        return os.path.basename(self.folder)

    @property
    def root(self) -> str:
        """The root, where it lies now."""
        return os.path.dirname(os.path.dirname(self.folder))

    @property
    def state(self) -> str:
        """How it ended; "running" while it does; "killed" if its process is gone and wrote no end."""
        state = str(self.summary["state"])
        return KILLED if state == RUNNING and not is_alive(self.summary["process"]) else state

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far; of one that was killed, until it last wrote a file of its own."""
        if self.state == RUNNING:
            return time.time() - float(self.summary["began_unix"])
        written = 0.0
        if self.state == KILLED:
            names = (os.path.join(self.folder, name) for name in os.listdir(self.folder))
            written = max(map(os.path.getmtime, names)) - float(self.summary["began_unix"])
        return max(float(self.summary["seconds"]), written)

    def stopped_at(self, every: "Sequence[Run]") -> int | None:
        """The step that the same command goes on from, of a training that was stopped; None where there is none.

        Args:
          every: all runs of the root; one at a time writes checkpoints.
        """
        if self.state in (RUNNING, ENDED):
            return None
        began = float(self.summary["began_unix"])
        later = [float(run.summary["began_unix"]) for run in every]
        until = min((other for other in later if other > began), default=math.inf)
        trainings = os.path.join(self.root, "training")
        steps = [
            int(step)
            for training in folders_in(trainings)
            if not has_ended(os.path.join(trainings, training))
            for step in folders_in(os.path.join(trainings, training))
            if step.isdecimal() and began <= os.path.getmtime(os.path.join(trainings, training, step)) < until
        ]
        return max(steps, default=None)

    @property
    def result(self) -> dict[str, Any]:
        """`RunSummary.to_dict()` of a run that came to its end, else empty."""
        return self.summary["result"] or {}

    @property
    def verification(self) -> dict[str, Any]:
        """The verdict with its figures, or empty."""
        return self.result.get("verification") or {}

    @property
    def version(self) -> str:
        """The number under which its model is served, or ""."""
        return os.path.basename(self.result.get("pushed") or "")

    def here(self, path: str) -> str:
        """Where a path of the run lies now, if the root was moved since."""
        old = str(self.settings.get("root", ""))
        return self.root + path[len(old) :] if old and path.startswith(f"{old}{os.sep}") else path

    def made(self) -> list[str]:
        """The folders that its nodes wrote, those that came from the cache left out; some may be gone since."""
        pipeline = os.path.join(self.root, "pipeline")
        return [os.path.join(pipeline, of) for node in self.summary["nodes"] for of in node["made"]]

    def bytes_on_disk(self) -> int:
        """What its own folder and what it made take."""
        return sum(bytes_below(path) for path in (self.folder, *self.made()))


def all_runs(root: str) -> list[Run]:
    """All runs of a root, the first one first; a folder that can't be read is said and left out."""
    runs = []
    for name in _names(root):
        try:
            runs.append(Run.read(os.path.join(root, RUNS, name)))
        except (DataError, OSError) as error:
            say(f"WARNING left out: {error}")
    return sorted(runs, key=lambda run: float(run.summary["began_unix"]))


def find_run(runs: Iterable[Run], name: str) -> Run:
    """A run by its name, by the name's beginning if no other begins so, or the last one as "latest".

    Raises:
      DataError: no such run, or several.
    """
    by_name = {run.name: run for run in runs}
    if name == LATEST and by_name:
        return list(by_name.values())[-1]
    found = [by_name[name]] if name in by_name else [run for known, run in by_name.items() if known.startswith(name)]
    if len(found) == 1 and name:
        return found[0]
    received = f"{name!r}, which {len(found)} begin with" if found else f"{name!r}{did_you_mean(name, by_name)}"
    raise DataError(
        f"expected the name of a run, its beginning, or {LATEST!r}; `runs` lists them. Received: {received}"
    )


def bytes_below(path: str) -> int:
    """Bytes on the disk of a folder's files, links not followed; 0 where there is none."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:  # a run is at work there
                continue
    return total


def _names(root: str) -> list[str]:
    """Names of the runs' folders; what begins with a point is being written."""
    return [name for name in folders_in(os.path.join(root, RUNS)) if not name.startswith(".")]


def _text(path: str) -> str:
    return read_bounded(path, _MOST_BYTES, "a run's").decode(errors="replace")


def _check(summary: dict[str, Any], path: str) -> None:
    """Raises DataError where an entry that is read isn't what `recording` writes."""
    process, nodes, result = summary.get("process"), summary.get("nodes"), summary.get("result")
    verification = (result.get("verification") or {}) if isinstance(result, dict) else {}
    known = {
        "state": isinstance(summary.get("state"), str),
        "began": isinstance(summary.get("began"), str),
        "began_unix": is_number(summary.get("began_unix")),
        "seconds": is_number(summary.get("seconds")),
        "command": isinstance(summary.get("command"), str),
        "process": isinstance(process, dict) and {"host", "pid", "started"} <= set(process),
        "data": isinstance(summary.get("data"), dict),
        "code": isinstance(summary.get("code"), dict),
        "nodes": isinstance(nodes, list) and all(map(_is_node, nodes)),
        "result": result is None or isinstance(result, dict),
        "result.verification": isinstance(verification, dict) and isinstance(verification.get("sets", {}), dict),
    }
    for name, right in known.items():
        if not right:
            received = json.dumps(summary.get(name))[:80]
            raise DataError(f"{path}, {name}: expected what `run` writes of a run. Received: {received}")


def _is_node(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and all(isinstance(node.get(name), str) for name in ("node", "state"))
        and is_number(node.get("seconds"))
        and isinstance(node.get("made"), list)
        and all(isinstance(path, str) and ".." not in path.split("/") for path in node["made"])
    )
