"""What a run leaves in its folder, and how `runs` lists, shows and compares: without TFX, by the recording itself."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from arcface_common.console import say
from arcface_common.errors import DataError
from pipeline.cli import main
from pipeline.cli.runs_text import duration, size
from pipeline.config import make_config
from pipeline.runs.folder import KILLED, all_runs, find_run
from pipeline.runs.recording import recorded_run
from tests.helpers import write_pairs, write_records
from trainer_module.training.kept_steps import ENDED_FILE, remove_ended

FIGURES = {"accuracy": 0.9, "accuracy_std": 0.01, "xnorm": 11.0, "pairs": 10, "tar_1e2": 0.8, "tar": None}


@pytest.fixture
def root(tmp_path):
    """Of three runs: one that was blessed, one with another setting that failed, one that was killed."""
    write_records(tmp_path / "data", [0, 0, 1])
    write_pairs(tmp_path / "data", "lfw", 10)
    config = _config(tmp_path)
    with recorded_run(config) as recording:
        recording.read_data()
        say("WARNING of something")
        recording.node("Trainer", "ran", 3.25, [os.path.join(config.pipeline_root, "Trainer", "model", "7")])
        made = os.path.join(config.pipeline_root, "Trainer", "model", "7")
        os.makedirs(made)
        with open(os.path.join(made, "weights"), "wb") as file:
            file.write(b"x" * 10_000)
        verification = {
            "sets": {"lfw": FIGURES},
            "undefined": {},
            "blessed": True,
            "conditions": [
                {
                    "text": "lfw.accuracy >= 0.9",
                    "holds": True,
                    "set": "lfw",
                    "figure": "accuracy",
                    "reason": None,
                    "kind": "value",
                    "value": 0.9,
                }
            ],
            "folds": "contiguous",
            "baseline": None,
            "best": {},
            "leaks": {},
            "warnings": {"lfw": ["of what there is to know"]},
        }
        result = {"verification": verification, "pushed": str(tmp_path / "root" / "serving" / "arcface" / "17")}
        recording.end(result, ["the summary"])
    with pytest.raises(RuntimeError), recorded_run(_config(tmp_path, "train.steps=7")) as recording:
        recording.read_data()
        raise RuntimeError("no memory")
    with recorded_run(_config(tmp_path, "train.steps=7")) as recording:
        recording.read_data()
        summary = json.loads(_file(recording.folder, "summary.json"))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    summary["process"]["pid"] = ended.pid
    with open(os.path.join(recording.folder, "summary.json"), "w") as file:
        json.dump(summary, file)
    return str(tmp_path / "root")


def _config(folder, *overrides):
    return make_config(str(folder / "data"), str(folder / "root"), "demo", overrides)


def _config_of(run):
    return _config(Path(run.root).parent)


def _file(folder, name):
    with open(os.path.join(folder, name)) as file:
        return file.read()


def _runs(*arguments):
    result = CliRunner().invoke(main, ["runs", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_run_leaves_settings_summary_and_log(root):
    first = all_runs(root)[0]
    assert sorted(os.listdir(first.folder)) == ["libraries.log", "run.log", "settings.yaml", "summary.json"]
    for name in os.listdir(first.folder):
        assert stat.S_IMODE(os.stat(os.path.join(first.folder, name)).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(first.folder).st_mode) == 0o700
    settings = yaml.safe_load(_file(first.folder, "settings.yaml"))
    assert (settings["preset"], settings["train"]["backbone"]) == ("demo", "iresnet_tiny")
    log = _file(first.folder, "run.log")
    for expected in ("versions    python 3", "hardware    ", "data digest ", "WARNING of something", "the summary"):
        assert expected in log
    assert re.search(r"ended after \d+ s$", log.rstrip())
    assert first.summary["data"]["path"] == settings["data"]
    assert {"training", "verification"} <= set(first.summary["data"])


def test_how_runs_ended(root):
    first, failed, killed = all_runs(root)
    assert [first.state, failed.state, killed.state] == ["ended", "failed", KILLED]
    assert failed.summary["error"] == "RuntimeError: no memory"
    assert re.search(r"failed after \d+ s: RuntimeError: no memory", _file(failed.folder, "run.log"))


def test_listing(root):
    head, first, failed, killed = _runs("--root", root).splitlines()
    assert head.split() == "run took state lfw blessed version size changed to the run before".split()
    assert first.split()[2:] == ["s", "ended", "0.9000", "yes", "17", *first.split()[-3:-1], "first"]
    assert "train.steps=7" in failed
    assert killed.rstrip().endswith("nothing")
    assert len(_runs("--root", root, "--last", "1").splitlines()) == 2
    listed = json.loads(_runs("--root", root, "--json"))
    assert [run["state"] for run in listed] == ["ended", "failed", KILLED]
    assert listed[0]["bytes"] > 10_000
    assert listed[1]["changed"]["settings"]["train.steps"][1] == 7


def test_show_and_diff(root):
    first, failed, _ = all_runs(root)
    shown = _runs("show", first.name, "--root", root)
    for expected in (first.name, "Trainer", "3.2", "0.9000 ± 0.0100", "blessed", "run.log"):
        assert expected in shown
    different = _runs("diff", first.name, failed.name, "--root", root)
    steps = next(line for line in different.splitlines() if line.startswith("train.steps"))
    assert steps.split() == ["train.steps", str(first.settings["train.steps"]), "7"]
    assert next(line for line in different.splitlines() if line.startswith("lfw.accuracy ")).split()[1:] == [
        "0.9000",
        "-",
    ]
    state = next(line for line in different.splitlines() if line.startswith("state "))
    assert state.split() == ["state", "ended", "failed"]
    assert different.splitlines()[-1] == "the same: data, code"
    same = _runs("diff", failed.name, failed.name, "--root", root)
    assert same == "the same: settings, data, code, figures, to four digits\n"


def _checkpoint(root, step, at):
    folder = os.path.join(root, "training", "training-0123456789abcdef", str(step))
    os.makedirs(folder)
    os.utime(folder, (at, at))


def test_a_training_that_was_stopped_says_where_it_goes_on(root):
    first, failed, killed = all_runs(root)
    began = [float(run.summary["began_unix"]) for run in (first, failed, killed)]
    for step, at in ((3, began[0] + 1e-3), (40, began[2] + 5), (60, began[2] + 9)):
        _checkpoint(root, step, at)
    every = all_runs(root)
    assert [run.stopped_at(every) for run in every] == [None, None, 60]
    assert "stopped at step 60; `run` goes on" in _runs("--root", root).splitlines()[-1]
    assert "stopped at step 60; `run` goes on, begun" in _runs("show", killed.name, "--root", root)
    listed = json.loads(_runs("--root", root, "--json"))
    assert [(run["state"], run["stopped_at"]) for run in listed][1:] == [("failed", None), (KILLED, 60)]
    _checkpoint(root, 70, began[2] - 1e-3)  # of the one before
    assert all_runs(root)[1].stopped_at(every) == (70 if began[1] < began[2] - 1e-3 else None)
    trainings = os.path.join(root, "training")
    remove_ended(trainings)
    (training,) = os.listdir(trainings)
    Path(trainings, training, ENDED_FILE).touch()  # a later node failed
    assert [run.stopped_at(every) for run in all_runs(root)] == [None, None, None]
    remove_ended(trainings)
    assert not os.listdir(trainings)


def test_how_long_a_run_took_that_was_killed(root):
    *_, killed = all_runs(root)
    last = float(killed.summary["began_unix"]) + 100
    os.utime(os.path.join(killed.folder, "run.log"), (last, last))
    assert all_runs(root)[-1].seconds == pytest.approx(100, abs=0.1)
    assert "1 min 40 s" in _runs("--root", root).splitlines()[-1]
    assert json.loads(_runs("--root", root, "--json"))[-1]["seconds"] == pytest.approx(100, abs=0.1)
    with recorded_run(_config_of(killed)) as recording:
        going = all_runs(root)[-1]
        assert going.state == "running"
        began = going.summary["began_unix"] - 60
        with open(os.path.join(recording.folder, "summary.json"), "w") as file:
            json.dump({**going.summary, "began_unix": began}, file)
        [again] = [run for run in all_runs(root) if run.name == recording.name]
        assert again.seconds == pytest.approx(60, abs=30)


def test_a_run_is_found_by_the_beginning_of_its_name(root):
    runs = all_runs(root)
    assert find_run(runs, runs[-1].name) is find_run(runs, "latest") is runs[-1]
    with pytest.raises(
        DataError, match=r"the name of a run, its beginning, or 'latest'.* Received: '2', which 3 begin"
    ):
        find_run(runs, "2")
    with pytest.raises(DataError, match="Received: 'x'$"):
        find_run(runs, "x")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"state": 3}', '{"state": "ended", "nodes": [{"made": 3}]}'])
def test_a_damaged_folder_is_said_and_left_out(root, capfd, content):
    first, *others = all_runs(root)
    with open(os.path.join(first.folder, "summary.json"), "w") as file:
        file.write(content)
    assert [run.name for run in all_runs(root)] == [run.name for run in others]
    assert f"WARNING left out: {first.folder}/summary.json" in capfd.readouterr().err


def test_a_link_that_loops_is_no_run(root):
    before = [run.name for run in all_runs(root)]
    os.symlink("loop", os.path.join(root, "runs", "loop"))
    assert [run.name for run in all_runs(root)] == before


@pytest.mark.parametrize("kept", [0, 20, 300, 0.9])
def test_cut_settings_are_said_and_left_out(root, capfd, kept):
    first, *others = all_runs(root)
    path = os.path.join(first.folder, "settings.yaml")
    size = os.path.getsize(path)
    os.truncate(path, int(kept * size) if kept == 0.9 else kept)
    assert [run.name for run in all_runs(root)] == [run.name for run in others]
    assert f"WARNING left out: {path}" in capfd.readouterr().err


def test_a_moved_root_is_read_where_it_lies(root, tmp_path):
    os.rename(root, tmp_path / "moved")
    first = all_runs(str(tmp_path / "moved"))[0]
    assert first.here(first.result["pushed"]) == str(tmp_path / "moved" / "serving" / "arcface" / "17")
    assert first.bytes_on_disk() > 10_000


def test_no_runs(tmp_path):
    result = CliRunner().invoke(main, ["runs", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "expected the folder of a run that can be read" in result.output
    result = CliRunner().invoke(main, ["gc", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "expected the root of runs" in result.output
    for content, message in ((b"", "Received: an empty file"), (b"junk" * 999, "expected ML Metadata's SQLite file")):
        (tmp_path / "metadata.sqlite").write_bytes(content)
        result = CliRunner().invoke(main, ["gc", "--root", str(tmp_path)])
        assert (result.exit_code, message in result.output) == (2, True)
        assert (tmp_path / "metadata.sqlite").read_bytes() == content


def test_units():
    assert [duration(x) for x in (0.4, 59.6, 204, 7260)] == ["0 s", "1 min 00 s", "3 min 24 s", "2 h 01 min"]
    assert [size(x) for x in (999, 1000, 1.25e9)] == ["999 B", "1.00 kB", "1.25 GB"]
