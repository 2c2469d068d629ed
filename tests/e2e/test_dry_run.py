"""A dry run by its command line, on own data that has no verification set."""

import json
import os

import pytest

from components.datasets.synthetic.dataset import SyntheticSpec, write_dataset
from tests.processes import cli

pytestmark = pytest.mark.e2e


def test_every_node_runs_and_nothing_is_left(tmp_path):
    data, root, temporary = tmp_path / "data", tmp_path / "root", tmp_path / "temporary"
    write_dataset(data, SyntheticSpec(identities=12, images_per_identity=8, pairs=40, seed=3))
    for path in data.glob("*.bin"):
        path.unlink()
    temporary.mkdir()
    command = ["run", "--dry-run", "--json", "--preset", "demo", "--data", str(data), "--root", str(root)]
    command += ["--verify-identities", "0.25", "--set", "train.batch_size=16"]
    result = cli(*command, env={**os.environ, "TMPDIR": str(temporary)})
    assert result.returncode == 0, result.stderr
    for node in ("RecordExampleGen", "Trainer", "Exporter", "VerificationEvaluator", "Pusher"):
        assert f"  {node} " in result.stderr
    assert not root.exists()
    assert not os.listdir(temporary)
    found = json.loads(result.stdout)
    assert (found["images"], found["identities"]) == (72, 9)
    assert (found["measured_images"], found["measured_identities"]) == (48, 6)
    assert (found["backbone"], found["steps"], found["batch_size"]) == ("iresnet_tiny", 900, 16)
    assert 500_000 < found["parameters"] < 510_592  # without moving statistics
    assert found["memory_seen"] > 1e8
    assert found["images_per_second"] == pytest.approx(16 / found["step_seconds"])
    assert found["seconds"]["training"] == pytest.approx(900 * found["step_seconds"])
    assert found["total_seconds"] > found["seconds"]["training"] + found["seconds"]["evaluation"] > 0


def test_errors_are_those_of_a_run(tmp_path):
    (tmp_path / "data").mkdir()
    command = ("run", "--dry-run", "--preset", "demo", "--data", str(tmp_path / "data"))
    result = cli(*command, "--root", str(tmp_path / "root"))
    assert result.returncode == 2
    assert "train.rec: expected a RecordIO file" in result.stderr
    assert "--wait waits for the root" in cli(*command, "--wait").stderr
