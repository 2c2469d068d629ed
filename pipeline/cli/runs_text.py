"""What a person reads about runs."""

import os
from collections.abc import Sequence
from typing import Any

from pipeline.runs import host, settings
from pipeline.runs.changes import Changes
from pipeline.runs.folder import ENDED, LOG_FILE, NOISE_FILE, SETTINGS_FILE, Run
from pipeline.runs.tables import shown, tensorboard_command, verdict_lines, verification_table

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def size(count: int) -> str:
    """Bytes to two digits behind the point, e.g. "1.25 GB"."""
    return next((f"{count / unit:.2f} {name}" for unit, name in _UNITS if count >= unit), f"{count} B")


def duration(seconds: float) -> str:
    """Seconds, e.g. "3 min 24 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def changed(runs: Sequence[Run], place: int) -> str:
    """What changed to the run before, in a few words."""
    return "first" if place == 0 else Changes.between(runs[place - 1], runs[place]).in_short()


def listing(runs: Sequence[Run], every: Sequence[Run]) -> list[str]:
    """One line a run, under a head.

    Args:
      runs: those to show, the first one first.
      every: all of the root, in the same order.
    """
    sets = list(dict.fromkeys(name for run in runs for name in run.verification.get("sets", {})))
    head = ["run", "took", "state", *sets, "blessed", "version", "size", "changed to the run before"]
    rows = [head]
    for run in runs:
        figures = run.verification.get("sets", {})
        rows.append(
            [
                run.name,
                duration(run.seconds),
                state(run, every),
                *(shown(figures.get(name, {}).get("accuracy")) for name in sets),
                _blessed(run),
                run.version or "-",
                size(run.bytes_on_disk()),
                changed(every, every.index(run)),
            ]
        )
    return _columns(rows)


def state(run: Run, every: Sequence[Run]) -> str:
    """How a run ended; of a training that was stopped, where the same command goes on.

    Args:
      run: the run.
      every: all of the root.
    """
    step = run.stopped_at(every)
    return run.state if step is None else f"stopped at step {step:,}; `run` goes on"


def to_dict(run: Run, every: Sequence[Run]) -> dict[str, Any]:
    """A run for machines."""
    place = every.index(run)
    changes = None if place == 0 else Changes.between(every[place - 1], run).to_dict()
    return {
        "run": run.name,
        **run.summary,
        "state": run.state,
        "seconds": run.seconds,
        "stopped_at": run.stopped_at(every),
        "settings": run.settings,
        "changed": changes,
        "bytes": run.bytes_on_disk(),
        "folder": run.folder,
    }


def details(run: Run, every: Sequence[Run]) -> list[str]:
    """All that is kept of a run, for people."""
    found = run.summary
    lines = [
        f"run       {run.name}, {state(run, every)}, begun {found['began']}, took {duration(run.seconds)}",
        f"command   {found['command']}",
        *([f"error     {found['error']}"] if found.get("error") else []),
        f"changed   {changed(every, every.index(run))}",
        *_surroundings(found),
        f"data      {found['data'].get('path', '-')}",
        *(f"          {kind}: digest {value}" for kind, value in found["data"].items() if kind != "path"),
        "",
    ]
    rows = [["node", "state", "seconds"]]
    lines += _columns(rows + [[node["node"], node["state"], f"{node['seconds']:.1f}"] for node in found["nodes"]])
    if verdict := run.verification:
        lines += ["", *verification_table(verdict["sets"], verdict["undefined"])]
        lines += ["", *verdict_lines(verdict)]
    return [*lines, "", *_places(run)]


def comparison(earlier: Run, later: Run, every: Sequence[Run]) -> list[str]:
    """What differs between two runs, for people.

    Args:
      earlier: on the left.
      later: on the right.
      every: all runs of the root.
    """
    changes = Changes.between(earlier, later)
    states = [state(run, every) for run in (earlier, later)]
    rows = [["state", *states]] if states[0] != states[1] else []
    rows += [[name, *map(settings.shown, both)] for name, both in changes.settings.items()]
    rows += [["path of the data" if name == "path" else f"{name} data", *both] for name, both in changes.data.items()]
    rows += [
        [f"code of {node}", *(run.summary["code"].get(node, "-") for run in (earlier, later))] for node in changes.code
    ]
    for name, (first, second) in changes.figures.items():
        values = [shown(value) if isinstance(value, int | float) else "-" for value in (first, second)]
        known = isinstance(first, int | float) and isinstance(second, int | float)
        difference = f"{second - first:+.4f}" if known else ""  # type: ignore[operator]
        if difference[1:] != "0.0000":
            rows.append([name, *values, difference])
    same = [
        what
        for what, found in (
            ("settings", changes.settings),
            ("data", {name for name in changes.data if name != "path"}),
            ("code", changes.code),
            ("figures, to four digits", any(name in changes.figures for name, *_ in rows)),
        )
        if not found
    ]
    table = _columns([["", earlier.name, later.name], *rows]) if rows else []
    return [*table, *([f"the same: {', '.join(same)}"] if same else [])]


def _blessed(run: Run) -> str:
    return "-" if not run.verification else "yes" if run.verification.get("blessed") else "no"


def _surroundings(found: dict[str, Any]) -> list[str]:
    """Host, hardware and versions."""
    versions = ", ".join(f"{name} {version}" for name, version in found.get("versions", {}).items())
    lines = [f"host      {found['process']['host']}"]
    if hardware := found.get("hardware"):
        lines.append(f"hardware  {host.in_words(hardware)}")
    return [*lines, f"versions  {versions}"]


def _places(run: Run) -> list[str]:
    """Where what it left lies; what is gone is not named."""
    result = run.result
    named = {
        "settings": os.path.join(run.folder, SETTINGS_FILE),
        "log": os.path.join(run.folder, LOG_FILE),
        "libraries": os.path.join(run.folder, NOISE_FILE),
        "model": run.here(result.get("pushed") or result.get("model") or ""),
        "report": run.here(result.get("report") or ""),
    }
    lines = [f"{name:<9} {path}" for name, path in named.items() if path and os.path.exists(path)]
    curves = run.here(result.get("tensorboard") or "")
    if curves and os.path.exists(curves):
        lines.append(f"curves    {tensorboard_command(curves)}")
    if run.state == ENDED and len(lines) < len([path for path in named.values() if path]):
        lines.append("(what isn't named is gone since)")
    return lines


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts under one another, two spaces between columns."""
    widths = [max(len(row[place]) for row in rows if place < len(row)) for place in range(max(map(len, rows)))]
    return ["  ".join(f"{cell:<{widths[place]}}" for place, cell in enumerate(row)).rstrip() for row in rows]
