"""`gc` where the file system doesn't let it: what can go goes, the rest is named, and ML Metadata says what is true."""

import os
import re

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.pipeline.runs.roots import DELETED, LIVE, MODEL, Root, write
from tests.unwritable import unwritable


@pytest.fixture
def root(tmp_path):
    """Of two runs, each of which made a model and a report."""
    made = Root(tmp_path / "root")
    made.path.mkdir()
    for run in ("first", "second"):
        trainer, evaluator = made.execution("Trainer"), made.execution("Evaluator")
        made.add(
            trainer, "Trainer", "model", "Model", [*(f"Format-Serving/{file}" for file in MODEL[:2]), "other/file"]
        )
        made.add(evaluator, "Evaluator", "report", "ModelEvaluation", ["verification.json"])
        made.run(run, trainer, evaluator)
    return made


def _gc(root):
    return CliRunner().invoke(main, ["gc", "--root", str(root.path), "--keep", "1", "--yes"])


def test_what_cannot_be_removed_is_named_and_the_rest_goes(root, capfd):
    model = root.path / "pipeline" / "Trainer" / "model" / "1"
    with unwritable(model / "other"):
        result = _gc(root)
    told = result.output + capfd.readouterr().err
    assert result.exit_code == 2, told
    reason = "Permission denied" if os.geteuid() else "Operation not permitted"
    assert f"error: {model / 'other' / 'file'}: expected to remove it" in told
    assert "The rest is removed; the next gc tries again" in told
    assert told.rstrip().endswith(f"Received: {reason}")
    assert "freed" in told
    # What is half gone must never come from the cache.
    assert not (model / "Format-Serving").exists()
    assert not (root.path / "pipeline" / "Evaluator" / "report" / "2").exists()
    assert root.states() == {1: DELETED, 2: DELETED, 3: LIVE, 4: LIVE}

    again = _gc(root)
    assert again.exit_code == 0, again.output
    assert not model.exists()


def test_what_is_whole_yet_stays_what_it_is(root, capfd):
    model = root.path / "pipeline" / "Trainer" / "model" / "1"
    with unwritable(model / "other", model / "Format-Serving" / "variables", model / "Format-Serving", model):
        result = _gc(root)
    told = result.output + capfd.readouterr().err
    assert result.exit_code == 2, told
    assert re.search(r"expected to remove it \(\d can't be\)", told)
    assert (model / "Format-Serving" / "saved_model.pb").exists()
    assert root.states() == {1: LIVE, 2: DELETED, 3: LIVE, 4: LIVE}


def test_shards_that_cannot_be_removed_are_named(root, capfd):
    store = root.path / "ingest" / "ingest-dead"
    write(store / "shard")
    with unwritable(store):
        result = _gc(root)
    told = result.output + capfd.readouterr().err
    assert result.exit_code == 2, told
    assert f"error: {store}: expected to remove it." in told
    assert f"WARNING {store}: shards of an unfinished ingest can't be removed" in told
    assert not (root.path / "pipeline" / "Trainer" / "model" / "1").exists()


def test_stopped_trainings_go_but_for_the_last(root):
    """Which a person may want to go on with."""
    for age, name in enumerate(("training-last", "training-old", "training-older")):
        write(root.path / "training" / name / "300" / "checkpoint" / "model.index", "x" * 5000)
        os.utime(root.path / "training" / name, (1e9 - age, 1e9 - age))
    told = CliRunner().invoke(main, ["gc", "--root", str(root.path), "--keep", "1"]).output
    assert re.findall(r"stopped training +[\d.]+ kB +(\S+)", told) == ["training-old", "training-older"]
    assert len(os.listdir(root.path / "training")) == 3
    assert _gc(root).exit_code == 0
    assert os.listdir(root.path / "training") == ["training-last"]
