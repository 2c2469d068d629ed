"""One root through what happens to roots: two runs at once, a move, and folders removed by hand."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.helpers import write_pairs, write_records
from tests.processes import Started, cli

pytestmark = pytest.mark.e2e

SETTINGS = (
    "train.steps=2",
    "train.batch_size=8",
    "train.warmup_steps=1",
    "evaluation.sets=lfw",
    "evaluation.conditions=[lfw.accuracy >= 0, lfw.accuracy change >= -1]",
)


def _arguments(data: Path, root: Path, *more: str) -> list[str]:
    settings = [argument for setting in (*SETTINGS, *more) for argument in ("--set", setting)]
    return ["run", "--data", str(data), "--root", str(root), "--preset", "demo", "--json", *settings]


def _run(data: Path, root: Path, *more: str) -> tuple[dict, str]:
    """Runs the pipeline; returns its summary and what a person saw."""
    result = cli(*_arguments(data, root, *more))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout), result.stderr


def _ran(summary: dict) -> set[str]:
    return {node for node, state in summary["nodes"].items() if state == "ran"}


def test_a_root_survives_what_happens_to_roots(tmp_path):
    data, root = tmp_path / "faces [v1] *?", tmp_path / "a root, #1 {é} 'mine'"
    write_records(data, [i // 8 for i in range(48)])
    write_pairs(data, "lfw", 20)

    # A second run in the same root, while the first one is at work, is told who that is.
    with Started(["-m", "pipeline", *_arguments(data, root)]) as run:
        while not (root / "run.lock").exists() or not (root / "run.lock").read_text():
            assert run.is_alive()
            time.sleep(0.01)
        second = cli(*_arguments(data, root))
        assert second.returncode == 2, second.stderr
        assert f"error: {root}: expected no other run in this root" in second.stderr
        assert f"Received: process {run.pid} on " in second.stderr
        ended = run.wait()
        assert ended.returncode == 0, ended.stderr
    first = json.loads(ended.stdout)
    assert len(_ran(first)) == 12
    version = Path(first["pushed"])
    assert version.parent == root / "serving" / "arcface"

    # Moved, it finds all in its cache, but for the verdict, which has a baseline now. How often training logs is no
    # part of a key. The same model keeps its version. What a dead ingest left goes.
    moved = root.rename(tmp_path / "moved")
    (moved / "ingest" / "ingest-dead").mkdir()
    again, seen = _run(data, moved, "train.log_every=1")
    assert _ran(again) == {"VerificationEvaluator", "Pusher"}, seen
    assert f"{moved} was {root} when it was last used" in seen
    assert again["pushed"] == str(moved / "serving" / "arcface" / version.name)
    assert again["already_served"]
    assert os.listdir(moved / "serving" / "arcface") == [version.name]
    assert not list(moved.glob("ingest/ingest-*"))
    assert not root.exists()

    # What is served is removed, and the blessed model with its training run: the pusher's own copy is the baseline. A
    # shard of pairs is cut short, which nobody would read before the verdict.
    [shard] = (moved / "pipeline" / "PairExampleGen").rglob("*-of-*")
    os.truncate(shard, shard.stat().st_size - 100)
    shutil.rmtree(moved / "serving")
    for node in ("Trainer", "Exporter"):
        shutil.rmtree(moved / "pipeline" / node)
    last, seen = _run(data, moved)
    assert _ran(last) == {"PairExampleGen", "Trainer", "Exporter", "VerificationEvaluator", "Pusher"}, seen
    assert f"PairExampleGen: what it wrote is damaged ({shard} has " in seen
    assert "Pusher: what it wrote is gone" in seen
    assert set(last["verification"]["baseline"]) == {"lfw"}
    assert (Path(last["pushed"]) / "saved_model.pb").exists()
