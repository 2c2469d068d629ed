"""The real pipeline by its command line, on a small synthetic data set: a first run, and what can follow it.

A run that trains costs 25 s of CPU. So what a run shows is looked at by as many tests as it can serve.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arcface_common.features import VERIFICATION_SETS
from components.datasets.synthetic.dataset import SyntheticSpec, write_dataset
from components.formats import recordio, verification_bin
from tests.helpers import write_records
from tests.processes import ROOT, cli

pytestmark = pytest.mark.e2e

SETS = ("lfw", "cfp_fp")
SETTINGS = (
    "train.steps=6",
    "train.batch_size=16",
    "train.warmup_steps=2",
    "ingest.holdout=0.25",
    "evaluation.conditions=[lfw.accuracy >= 0, lfw.accuracy change >= -1]",
)
TRAINING = {"Trainer", "Exporter", "VerificationEvaluator", "Pusher"}
INGEST = {"RecordExampleGen", "StatisticsGen", "ExampleValidator", "Transform"}
PAIRS = {"PairExampleGen", "PairSchema", "ExampleSchema", "StatisticsSchema"}


@dataclasses.dataclass
class World:
    """A data set and a root in which the pipeline has run once; each test finds them as that run left them.

    Attributes:
      data: folder of the data set.
      root: folder of all that the runs write.
      first: the summary of the first run.
      seen: what a person saw of it.
    """

    data: Path
    root: Path
    first: dict
    seen: str

    def run(self, *more: str, init_from: str | None = None) -> dict:
        """Runs the pipeline once more; returns its summary."""
        initial = ["--init-from", init_from] if init_from else []
        result = cli(*run_arguments(self.data, self.root, *more), *initial)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


def run_arguments(data: Path, root: Path, *more: str) -> list[str]:
    settings = [argument for setting in (*SETTINGS, *more) for argument in ("--set", setting)]
    return ["run", "--data", str(data), "--root", str(root), "--preset", "demo", "--json", *settings]


def ran(summary: dict) -> set[str]:
    return {node for node, state in summary["nodes"].items() if state == "ran"}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """The first run, in a process that Python starts, and a copy of all that it left."""
    folder = tmp_path_factory.mktemp("e2e")
    data, root = folder / "now" / "data", folder / "now" / "root"
    write_dataset(data, SyntheticSpec(identities=12, images_per_identity=8, pairs=40, seed=3))
    for name in set(VERIFICATION_SETS) - set(SETS):  # each costs the report its plots
        os.remove(data / f"{name}.bin")
    temporary = folder / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "pipeline", *run_arguments(data, root)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stderr
    assert not os.listdir(temporary)
    return _kept(World(data, root, json.loads(result.stdout), result.stderr), "after_first_run")


@pytest.fixture(scope="module")
def central_run(first_run):
    """A second run, where the variables lie otherwise, and a copy of all that both left."""
    _restore(first_run, "after_first_run")
    summary = first_run.run("train.strategy=central")
    return _kept(first_run, "after_central_run"), summary


@pytest.fixture
def world(first_run):
    _restore(first_run, "after_first_run")
    return first_run


@pytest.fixture
def central(central_run):
    """The world after the second run, and that run's summary."""
    _restore(central_run[0], "after_central_run")
    return central_run


def _kept(world, name):
    shutil.copytree(world.data.parent, world.data.parent.with_name(name), symlinks=True)
    return world


def _restore(world, name):
    # In the same place, because ML Metadata keeps absolute paths.
    now = world.data.parent
    shutil.rmtree(now)
    shutil.copytree(now.with_name(name), now, symlinks=True)


def test_from_recordio_to_a_pushed_model(world):
    summary = world.first
    assert ran(summary) == TRAINING | INGEST | PAIRS
    assert set(summary["verification"]["sets"]) == set(SETS)
    for figures in summary["verification"]["sets"].values():
        assert figures["pairs"] == 40
        assert 0 <= figures["accuracy"] <= 1
        assert figures["xnorm"] > 0
    assert summary["verification"]["blessed"]
    assert Path(summary["pushed"]).parent == world.root / "serving" / "arcface"
    assert (Path(summary["pushed"]) / "assets.extra" / "tf_serving_warmup_requests").exists()
    assert list(Path(summary["tensorboard"]).glob("events.*"))
    assert "first model" in Path(summary["report"]).read_text()
    leaks = summary["verification"]["leaks"]
    assert {(leak["images"] > 0, leak["shared_images"]) for leak in leaks.values()} == {(True, 0)}
    assert Path(summary["log"]).stat().st_size > 0
    lines = world.seen.splitlines()
    assert len(lines) < 60, world.seen  # no wall of warnings
    assert not [line for line in lines if "WARNING" in line or line.startswith(("I0000", "W0000", "E0000"))]


def test_the_pushed_model_answers(world, tmp_path):
    pairs = verification_bin.read(str(world.data / "lfw.bin"))
    images = []
    for i in range(2):
        images.append(str(tmp_path / f"{i}.jpg"))
        Path(images[-1]).write_bytes(pairs.images[i])
    model = str(world.root / "serving" / "arcface")
    answer = cli("embed", model, *images)
    assert answer.returncode == 0, answer.stderr
    loading = f"loading {world.first['pushed']}"
    assert answer.stderr.splitlines()[0] == loading and answer.stderr.count("\n") == answer.stderr.count(loading)
    rows = json.loads(answer.stdout)
    assert [row["name"] for row in rows] == images
    output = str(tmp_path / "embeddings.npy")
    assert cli("embed", model, *images, "--output", output).returncode == 0
    np.testing.assert_allclose(np.load(output), [row["embedding"] for row in rows], atol=1e-6)

    verdict = json.loads(cli("verify", model, *images, "--json").stdout)
    threshold = world.first["verification"]["sets"][next(iter(world.first["verification"]["sets"]))]["threshold"]
    first = next(iter(world.first["verification"]["sets"]))
    assert verdict["threshold"] == pytest.approx(1 - threshold / 2)
    assert (verdict["set"], verdict["pairs"]) == (first, 40)
    words = cli("verify", model, images[0], images[0]).stdout
    assert words.startswith("same: cosine 1.0000, above")
    assert words.endswith(f"(highest accuracy on the 40 pairs of {first})\n")
    few = cli("verify", model, *images, "--far", "1e-2")
    assert few.returncode == 2
    assert f"{first} needs 100 pairs of different people; there are 20" in few.stderr


def test_unchanged_runs_come_from_the_cache(world):
    # The first blessing gave the Evaluator a baseline that it had not seen, and so a new verdict to the Pusher.
    second = world.run()
    assert ran(second) <= {"VerificationEvaluator", "Pusher"}
    third = world.run()
    assert ran(third) == set()
    assert third["verification"]["sets"] == world.first["verification"]["sets"]
    # The model stands beside itself: no pair on which they differ.
    change = third["verification"]["conditions"][1]
    assert (change["value"], change["difference"], change["p_value"], change["holds"]) == (0, 0, 1, True)


def test_a_changed_setting_re_runs_what_depends_on_it_and_central_storage_trains_too(central):
    world, summary = central
    assert ran(summary) == TRAINING
    # One CPU device either way: where the variables lie must not change what is learned.
    for name, figures in world.first["verification"]["sets"].items():
        assert summary["verification"]["sets"][name]["accuracy"] == pytest.approx(figures["accuracy"], abs=0.05)


def test_runs_are_listed(central):
    world, summary = central
    first, second = json.loads(cli("runs", "--root", str(world.root), "--json").stdout)
    assert [run["state"] for run in (first, second)] == ["ended", "ended"]
    assert second["run"] == summary["run"]
    assert second["result"]["verification"] == summary["verification"]
    assert [*second["changed"]["settings"], *second["changed"]["data"]] == ["train.strategy"]
    states = {node["node"]: node["state"] for node in second["nodes"]}
    assert (states["RecordExampleGen"], states["Trainer"]) == ("cached", "ran")
    log = (Path(summary["folder"]) / "run.log").read_text()
    for expected in ("train.strategy=central", "data digest", "Trainer begins", "loss", "blessed", "ended after"):
        assert expected in log, expected


def test_two_workers_end_in_a_pushed_model_and_what_the_last_run_does_not_need_is_removed(central):
    world, _ = central
    summary = world.run("train.workers=2")
    assert ran(summary) == TRAINING
    assert summary["pushed"]
    log = Path(summary["noise"])
    said = (log.parent / f"{log.stem}-workers.log").read_text().splitlines()
    assert {line.partition(" | ")[0] for line in said} == {"worker 0", "worker 1"}
    metadata = json.loads((Path(summary["pushed"]) / "assets.extra" / "model.json").read_text())
    assert metadata["training"]["workers"] == 2
    assert not any((world.root / "training").iterdir())
    assert metadata["classes"] == 12

    # It was compared with the second model, of which the served version is left: nothing needs the other copies.
    root = ["--root", str(world.root)]
    models, checkpoints = (
        sorted((world.root / "pipeline" / output).glob("[0-9]*"), key=lambda path: int(path.name))
        for output in ("Exporter/model", "Trainer/model_run")
    )
    kept = {path.name for path in (world.root / "serving" / "arcface").iterdir()}
    said = cli("gc", *root, "--keep", "1").stdout
    assert "would free" in said
    assert all(path.exists() for path in models)
    freed = cli("gc", *root, "--keep", "1", "--yes")
    assert freed.returncode == 0, freed.stderr
    assert "freed" in freed.stdout
    assert [path.exists() for path in models] == [False, False, True]
    assert [path.exists() for path in checkpoints] == [False, False, True]
    assert {path.name for path in (world.root / "serving" / "arcface").iterdir()} == kept
    assert "nothing to remove" in cli("gc", *root, "--keep", "1", "--yes").stdout
    assert "Trainer" not in ran(world.run("train.workers=2"))
    assert "Trainer" in ran(world.run())  # what was removed is made anew


def test_a_model_is_judged_as_it_is_and_fine_tuned(world):
    training_run = str(Path(world.first["tensorboard"]).parent)
    as_it_is = world.run("train.steps=0", init_from=training_run)
    assert ran(as_it_is) == TRAINING - {"Trainer"}
    assert as_it_is["verification"]["sets"] == world.first["verification"]["sets"]
    tuned = world.run("train.steps=3", "train.learning_rate=1e-4", init_from=training_run)
    assert tuned["pushed"] not in (as_it_is["pushed"], None)
    assert tuned["verification"]["sets"] != as_it_is["verification"]["sets"]


def test_held_out_images_are_judged_and_not_trained_on(world):
    found = json.loads((Path(world.first["tensorboard"]).parent / "holdout.json").read_text())
    assert found["images"] == 12 * 2  # a quarter of each identity's 8
    assert found["step"] == 6
    metadata = json.loads((Path(world.first["model"]) / "assets.extra" / "model.json").read_text())
    assert metadata["classes"] == 12


def test_a_model_says_what_it_was_made_of_and_a_pushed_one_its_thresholds(world):
    model, pushed = (
        json.loads((Path(world.first[name]) / "assets.extra" / "model.json").read_text())
        for name in ("model", "pushed")
    )
    assert f"digest {model['data_digest']}" in Path(world.first["report"]).read_text()
    assert re.fullmatch("[0-9a-f]{8,}", model["code_version"])
    assert model["evaluation"] == {}
    figures = world.first["verification"]["sets"]["lfw"]
    assert pushed["evaluation"]["lfw"]["accuracy"] == figures["accuracy"]
    assert pushed["evaluation"]["lfw"]["threshold"] == pytest.approx(1 - figures["threshold"] / 2)
    assert {**pushed, "evaluation": {}} == model


def test_without_any_set_kept_out_people_judge(world, tmp_path):
    data, root = tmp_path / "data", tmp_path / "root"
    shutil.copytree(world.data, data, ignore=shutil.ignore_patterns("*.bin", "*.csv"))
    settings = ["train.steps=12", "train.batch_size=16", "train.warmup_steps=2"]

    def run(*more: str) -> tuple[dict, str]:
        named = [argument for setting in (*settings, *more) for argument in ("--set", setting)]
        command = ["run", "--data", str(data), "--root", str(root), "--preset", "demo", "--json"]
        done = cli(*command, "--verify-identities", "0.4", *named)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    first, said = run()
    assert "conditions: verify.accuracy >= 0.95, verify.accuracy change >= 0" in said
    verification = first["verification"]
    assert verification["sets"]["verify"]["pairs"] == 20  # 4 people have 6 combinations of two, 3 pairs of each
    texts = [condition["text"] for condition in verification["conditions"]]
    assert texts == ["verify.accuracy >= 0.95", "verify.accuracy change >= 0"]
    leak = verification["leaks"]["verify"]
    assert (leak["shared_images"], leak["shared_identities"], leak["identities"]) == (0, 0, 4)
    counts = ("records", "identities", "verify_records", "verify_identities")
    assert [first["ingest"][name] for name in counts] == [64, 8, 32, 4]
    metadata = json.loads((Path(first["model"]) / "assets.extra" / "model.json").read_text())
    assert metadata["classes"] == 8
    assert "4 identities kept out for the set verify" in Path(first["report"]).read_text()

    others, _ = run("evaluation.verify_pairs=40", "evaluation.conditions=[verify.accuracy >= 0, verify.leaks <= 0]")
    assert ran(others) == {"PairExampleGen", "VerificationEvaluator", "Pusher"}
    assert others["verification"]["sets"]["verify"]["pairs"] == 40
    assert others["verification"]["blessed"] and others["pushed"]
    again = run("evaluation.verify_pairs=40", "ingest.seed=2", "evaluation.conditions=[verify.accuracy >= 0]")[0]
    assert {"RecordExampleGen", "PairExampleGen", "Trainer"} <= ran(again)

    # The people of seed 1 were trained on by the run of seed 2: that one can't begin anew as if it knew none of them.
    run_dir = max((root / "pipeline" / "Trainer" / "model_run").glob("[0-9]*"), key=lambda path: int(path.name))
    started, said = run(
        f"train.init_from={run_dir}", "evaluation.verify_pairs=40", "evaluation.conditions=[verify.leaks <= 0]"
    )
    assert f"WARNING verify: {run_dir} may have been trained on its people" in said
    seen = started["verification"]["leaks"]["verify"]["shared_identities"]
    assert 0 < seen <= 4 and not started["verification"]["blessed"]
    assert f"WARNING verify: {seen} of its people were trained on by the run that this model began from" in said


def test_a_changed_record_file_re_runs_what_depends_on_it(world, tmp_path):
    other = tmp_path / "other"
    write_records(other, [i // 8 for i in range(96)])
    for name in ("train.rec", "train.idx"):
        shutil.copyfile(other / name, world.data / name)
    summary = world.run()
    assert ran(summary) == INGEST | TRAINING


def test_a_missing_set_is_skipped_aloud_and_a_broken_record_stops(world, tmp_path):
    data = tmp_path / "broken"
    shutil.copytree(world.data, data)
    os.remove(data / "cfp_fp.bin")
    index = recordio.read_index(str(data / "train.idx"))
    key = 20
    offset = int(index.offsets[list(index.keys).index(key)])
    with open(data / "train.rec", "r+b") as f:
        f.seek(offset)
        f.write(b"\0\0\0\0")
    root = tmp_path / "root"
    result = cli("run", "--data", str(data), "--root", str(root), "--preset", "demo")
    assert result.returncode == 2, result.stderr
    assert re.search(r"skipped: .*cfp_fp\.bin", result.stderr)
    assert f"train.rec, key {key}, byte offset {offset}: expected a record" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((root / "pipeline" / "RecordExampleGen").rglob("*.tfrecord"))
    assert not (root / "serving").exists()
