"""The real pipeline by its command line, on a small synthetic data set, in the order in which a user would meet it."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components import recordio, verification_bin
from components.synthetic.dataset import SyntheticSpec, write_dataset
from trainer_module.features import VERIFICATION_SETS

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (
    "train.steps=12",
    "train.batch_size=16",
    "train.warmup_steps=2",
    "evaluation.conditions=[lfw.accuracy >= 0, lfw.accuracy change >= -1]",
)
TRAINING = {"Trainer", "VerificationEvaluator", "Pusher"}
INGEST = {"RecordExampleGen", "StatisticsGen", "ExampleValidator", "Transform"}
PAIRS = {"PairExampleGen", "PairSchema", "ExampleSchema", "StatisticsSchema"}


@dataclasses.dataclass
class World:
    """One data set and one root that the tests below run the pipeline on, one after the other."""

    data: Path
    root: Path

    def run(self, *more: str, init_from: str | None = None) -> tuple[dict, str]:
        """Runs the pipeline; returns its summary and what a person saw."""
        initial = ["--init-from", init_from] if init_from else []
        settings = [argument for setting in (*SETTINGS, *more) for argument in ("--set", setting)]
        result = cli("run", "--data", str(self.data), "--root", str(self.root), "--json", *initial, *settings)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout), result.stderr


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


def ran(summary: dict) -> set[str]:
    return {node for node, state in summary["nodes"].items() if state == "ran"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("e2e")
    write_dataset(folder / "data", SyntheticSpec(identities=12, images_per_identity=8, pairs=40, seed=3))
    return World(folder / "data", folder / "root")


@pytest.fixture(scope="module")
def first(world):
    return world.run()


def test_from_recordio_to_a_pushed_model(world, first):
    summary, seen = first
    assert ran(summary) == TRAINING | INGEST | PAIRS
    assert list(summary["verification"]["sets"]) and set(summary["verification"]["sets"]) == set(VERIFICATION_SETS)
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
    lines = seen.splitlines()
    assert len(lines) < 60, seen  # no wall of warnings
    assert not [line for line in lines if "WARNING" in line or line.startswith(("I0000", "W0000", "E0000"))]


def test_the_pushed_model_answers(world, first, tmp_path):
    pairs = verification_bin.read(str(world.data / "lfw.bin"))
    images = []
    for i in range(2):
        images.append(str(tmp_path / f"{i}.jpg"))
        Path(images[-1]).write_bytes(pairs.images[i])
    model = str(world.root / "serving" / "arcface")
    answer = cli("embed", model, *images)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    rows = json.loads(answer.stdout)
    assert [row["image"] for row in rows] == images
    output = str(tmp_path / "embeddings.npy")
    assert cli("embed", model, *images, "--output", output).returncode == 0
    np.testing.assert_allclose(np.load(output), [row["embedding"] for row in rows], atol=1e-6)

    verdict = json.loads(cli("verify", model, *images, "--json").stdout)
    threshold = first[0]["verification"]["sets"][next(iter(first[0]["verification"]["sets"]))]["threshold"]
    assert verdict["cosine_threshold"] == pytest.approx(1 - threshold / 2)
    words = cli("verify", model, images[0], images[0]).stdout
    assert words.startswith("same: cosine 1.0000, above")


def test_unchanged_runs_come_from_the_cache(world, first):
    # The first blessing gave the Evaluator a baseline that it had not seen, and so a new verdict to the Pusher.
    second, _ = world.run()
    assert ran(second) <= {"VerificationEvaluator", "Pusher"}
    third, _ = world.run()
    assert ran(third) == set()
    assert third["verification"]["sets"] == first[0]["verification"]["sets"]
    # The model stands beside itself: no pair on which they differ.
    change = third["verification"]["conditions"][1]
    assert (change["value"], change["difference"], change["p_value"], change["holds"]) == (0, 0, 1, True)


def test_a_changed_setting_re_runs_what_depends_on_it(world, first):
    summary, _ = world.run("train.margin=0.4")
    assert ran(summary) == TRAINING


def test_two_workers_end_in_the_same_kind_of_pushed_model(world, first):
    summary, _ = world.run("train.workers=2")
    assert ran(summary) == TRAINING
    assert summary["pushed"]
    logs = sorted(Path(summary["tensorboard"]).parent.glob("worker-*.log"))
    assert [log.name for log in logs] == ["worker-0.log", "worker-1.log"]
    metadata = json.loads((Path(summary["pushed"]) / "assets.extra" / "model.json").read_text())
    assert metadata["training"]["workers"] == 2
    assert metadata["classes"] == 12


def test_central_storage_trains_too(world, first):
    summary, _ = world.run("train.strategy=central")
    assert ran(summary) == TRAINING
    # One CPU device either way: where the variables lie must not change what is learned.
    for name, figures in first[0]["verification"]["sets"].items():
        assert summary["verification"]["sets"][name]["accuracy"] == pytest.approx(figures["accuracy"], abs=0.05)


def test_a_model_is_judged_as_it_is_and_fine_tuned(world, first):
    training_run = str(Path(first[0]["tensorboard"]).parent)
    as_it_is, _ = world.run("train.steps=0", init_from=training_run)
    assert ran(as_it_is) == TRAINING
    assert as_it_is["verification"]["sets"] == first[0]["verification"]["sets"]
    tuned, _ = world.run("train.steps=3", "train.learning_rate=1e-4", init_from=training_run)
    assert tuned["pushed"] not in (as_it_is["pushed"], None)
    assert tuned["verification"]["sets"] != as_it_is["verification"]["sets"]


def test_held_out_images_are_judged_and_not_trained_on(world, first):
    summary, _ = world.run("ingest.holdout=0.25")
    assert ran(summary) == INGEST | TRAINING
    found = json.loads((Path(summary["tensorboard"]).parent / "holdout.json").read_text())
    assert found["images"] == 12 * 2  # a quarter of each identity's 8
    assert found["step"] == 12
    metadata = json.loads((Path(summary["model"]) / "assets.extra" / "model.json").read_text())
    assert metadata["classes"] == 12


def test_a_changed_record_file_re_runs_what_depends_on_it(world, first, tmp_path):
    other = tmp_path / "other"
    write_dataset(other, SyntheticSpec(identities=12, images_per_identity=8, pairs=40, seed=4))
    for name in ("train.rec", "train.idx"):
        shutil.copyfile(other / name, world.data / name)
    summary, _ = world.run()
    assert ran(summary) == INGEST | TRAINING


def test_a_missing_set_is_skipped_aloud_and_a_broken_record_stops(world, first, tmp_path):
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
    result = cli("run", "--data", str(data), "--root", str(root))
    assert result.returncode == 2, result.stderr
    assert "cfp_fp.bin is not in" in result.stderr
    assert f"train.rec, key {key}, byte offset {offset}: expected a record" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((root / "pipeline" / "RecordExampleGen").rglob("*.tfrecord"))
    assert not (root / "serving").exists()
