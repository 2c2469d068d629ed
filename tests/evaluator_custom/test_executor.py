"""The VerificationEvaluator on a real exported model: the protocol's figures on in-process embeddings come out."""

import dataclasses
import json
import shutil
import stat

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma

from arcface_common.artifacts import BEST_FILE, VERIFICATION_FILE
from arcface_common.digests import image_digests
from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from arcface_common.filesystem import copy_folder, path_end
from arcface_common.model_metadata import ModelMetadata
from arcface_common.protocol import slices
from arcface_common.protocol.best_so_far import Record, dumps, loads, pairs_digest
from arcface_common.protocol.comparison import compare
from arcface_common.protocol.conditions import FIGURES
from components.formats import verification_bin
from components.latest_blessed.records import BlessedModel, latest_blessed
from evaluator_custom import executor
from pipeline.beam import beam_args
from pipeline.runs.tables import verdict_lines
from tests.evaluator_custom.verdicts import (
    IS_SAME,
    PAIRS,
    SETS,
    assert_figures,
    evaluate,
    images,
    pair_examples,
    record,
    training_examples,
    world_in,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return world_in(tmp_path_factory.mktemp("evaluator"))


@pytest.fixture(scope="module")
def first(world, tmp_path_factory):
    """The verdict on a first model, whose conditions all hold."""
    out = tmp_path_factory.mktemp("first")
    leaks = ("lfw.leaks <= 0.05", "cfp_fp.leaks <= 0.05")
    conditions = ("lfw.accuracy >= 0.5", "lfw.far gap group <= 1", "cfp_fp.accuracy change >= 1", *leaks)
    return (*evaluate(world[0], out, *conditions)[:2], out)


def test_figures_blessing_and_tfmas_reader(world, first):
    evaluation, verdict, out = first
    expected = world[2][0]
    assert list(verdict["sets"]) == list(SETS)  # in the configured order, whatever TFMA's
    for name in SETS:
        assert list(verdict["sets"][name]) == list(FIGURES)
        assert_figures(verdict["sets"][name], expected)
        assert verdict["undefined"][name]["tar"] == expected.result.undefined["tar"]
    assert verdict["blessed"]
    assert verdict["baseline"] is None
    assert json.loads((out / "blessing" / VERIFICATION_FILE).read_text()) == verdict
    found = {key for key, _ in tfma.load_eval_result(evaluation.uri).slicing_metrics}
    groups = {(("attributes", f"group={value}"), ("set", "lfw")) for value in ("a", "b", "a / b")}
    assert {tuple(sorted(key)) for key in found} == {(("set", "lfw"),), (("set", "cfp_fp"),)} | groups
    assert evaluation.get_float_custom_property("lfw_accuracy") == verdict["sets"]["lfw"]["accuracy"]


def test_the_first_model_is_held_against_values_alone_and_says_so(first):
    _, verdict, _ = first
    value, gap, change_, *_ = verdict["conditions"]
    assert value["value"] == verdict["sets"]["lfw"]["accuracy"]
    assert gap["value"] == verdict["gaps"]["lfw"]["group"]["far"]
    assert (change_["value"], change_["p_value"], change_["holds"]) == (None, None, True)
    lines = verdict_lines(verdict)
    assert "  holds  cfp_fp.accuracy change >= 1: first model: no comparison" in lines
    assert lines[-1].startswith("  first model: no comparison")


def test_slices_stand_at_the_threshold_of_the_whole(world, first):
    _, verdict, _ = first
    expected = world[2][0]
    assert list(verdict["slices"]) == ["lfw"]
    of_groups = {s["value"]: s for s in verdict["slices"]["lfw"]}
    assert set(of_groups) == {"a", "b", "a / b"}
    by_hand = slices.slice_figures(
        expected.distances, expected.is_same, verdict["sets"]["lfw"]["threshold"], expected.attributes
    )
    for s in by_hand:
        assert of_groups[s.value] == s.to_dict()
    assert verdict["gaps"]["lfw"]["group"]["far"] == slices.gap(by_hand, "group", "far")


def test_images_and_people_of_the_training_set_are_reported(first):
    _, verdict, _ = first
    distinct = len(set(images()))
    # Images 0 and 1 are the same one, image 2 is the first of pair 1, and pair 2 is of identities 4 and 5.
    leak = {"images": distinct, "shared_images": 2, "pairs": PAIRS, "shared_pairs": 2}
    assert verdict["leaks"]["lfw"] == {**leak, "identities": 2 * PAIRS, "shared_identities": 1}
    assert verdict["leaks"]["cfp_fp"] == {**leak, "identities": 0, "shared_identities": 0}
    warnings = [line for line in verdict_lines(verdict) if line.startswith("WARNING lfw: 2 of ")]
    assert len(warnings) == 1
    assert "1 of 160 identities are in the training set" in warnings[0]
    shares = [condition["value"] for condition in verdict["conditions"] if condition["kind"] == "leak"]
    assert shares == [2 / distinct, 2 / distinct]


def test_a_set_that_is_trained_on_blocks_by_its_condition(world, tmp_path):
    """TFMA, which is told nothing of leaks, would bless the model."""
    _, verdict, _ = evaluate(world[0], tmp_path, "lfw.accuracy >= 0", "lfw.leaks <= 0.01")
    assert [condition["holds"] for condition in verdict["conditions"]] == [True, False]
    assert verdict_lines(verdict)[-2].startswith("  FAILS  lfw.leaks <= 0.01: 0.01")


def test_people_whom_an_earlier_run_was_trained_on_are_leaks(world, tmp_path):
    """The set has the labels 0 .. 5; this run trained on 4, the one that it began from on 5."""
    training = training_examples(tmp_path / "training")
    training.set_string_custom_property("content_digest", "da7a")
    (earlier := tmp_path / "earlier").mkdir()
    known = ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {"steps": 7}, data_digest="da7a")
    known.write(str(earlier))
    (earlier / "identities.txt").write_text("5\n77\n")
    inputs = world[0] | {"training_examples": [training]}
    _, verdict, _ = evaluate(inputs, tmp_path / "known", "lfw.accuracy >= 0.5", start=str(earlier))
    assert verdict["leaks"]["lfw"]["shared_identities"] == 2
    assert verdict["warnings"]["lfw"] == ["1 of its people were trained on by the run that this model began from"]
    dataclasses.replace(known, data_digest="").write(str(earlier))  # as of an import
    _, verdict, _ = evaluate(inputs, tmp_path / "unknown", "lfw.accuracy >= 0.5", start=str(earlier))
    assert verdict["leaks"]["lfw"]["shared_identities"] == 1
    assert "began from may have been trained on its people" in verdict["warnings"]["lfw"][0]
    assert not verdict["warnings"]["cfp_fp"]  # whose people nobody knows
    assert "began from may have been trained on its people" in (tmp_path / "unknown/evaluation/report.html").read_text()


def test_the_report_is_beside_the_evaluation_with_worst_pairs_and_lineage(first):
    _, _, out = first
    page = (out / "evaluation" / "report.html").read_text()
    plots = sorted(path.name for path in (out / "evaluation" / "report_files").iterdir())
    assert plots == ["cfp_fp.png", "lfw.png"]
    for text in ("iresnet_tiny, 16 dimensions", "steps=7", "c0de", "nothing: first model", "are in the training set"):
        assert text in page
    assert "data:image/jpeg;base64," in page


def test_the_report_of_a_run_elsewhere_is_copied_there_with_its_plots(world):
    pairs = dataclasses.replace(world[2][0], name="lfw", images=images())
    executor._write_report("ram://evaluation", [pairs], {"model": "m"})
    found = [f"{place}/{name}" for place, _, names in tf.io.gfile.walk("ram://evaluation") for name in names]
    assert [path.replace("//", "/") for path in sorted(found)] == [
        "ram:/evaluation/report.html",
        "ram:/evaluation/report_files/lfw.png",
    ]


def test_a_condition_that_fails_blocks(world, tmp_path):
    _, verdict, _ = evaluate(world[0], tmp_path, "cfp_fp.accuracy >= 0.5", "lfw.pairs <= 79")
    assert [condition["holds"] for condition in verdict["conditions"]] == [True, False]
    assert not verdict["blessed"]
    assert verdict_lines(verdict)[-2] == "  FAILS  lfw.pairs <= 79: 80.0000"


@pytest.mark.parametrize("condition", ["agedb_30.accuracy >= 0", "agedb_30.accuracy change >= -1"])
def test_a_set_without_data_blocks_even_a_first_model(world, tmp_path, condition):
    _, verdict, _ = evaluate(world[0], tmp_path, "lfw.accuracy >= 0", condition)
    assert not verdict["blessed"]
    assert f"  FAILS  {condition}: no data of the set agedb_30" in verdict_lines(verdict)


def test_a_gap_that_is_not_known_blocks(world, tmp_path):
    _, verdict, _ = evaluate(world[0], tmp_path, "lfw.accuracy gap age <= 1", "cfp_fp.tar gap group <= 1")
    assert [condition["value"] for condition in verdict["conditions"]] == [None, None]
    assert not verdict["blessed"]


def test_the_latest_blessed_model_is_compared_on_the_same_pairs(world, tmp_path):
    inputs, models, (candidate, other) = world
    expected = compare(candidate, other)
    conditions = ("lfw.accuracy change >= 0", "lfw.accuracy change >= 0.5", "lfw.leaks <= 1")
    inputs = {name: artifacts for name, artifacts in inputs.items() if name != "training_examples"}
    _, verdict, _ = evaluate(inputs, tmp_path, *conditions, baseline=record(tmp_path, models[1]))
    assert_figures(verdict["baseline"]["lfw"], other)
    *changes, leak = verdict["conditions"]
    assert (leak["holds"], leak["reason"]) == (False, "it isn't known what the training set holds")
    for condition in changes:
        assert condition["difference"] == pytest.approx(expected.difference)
        assert condition["p_value"] == pytest.approx(expected.mcnemar.p_value)
        assert condition["value"] == pytest.approx(expected.significant)
    assert not verdict["conditions"][1]["holds"]
    assert verdict["leaks"] == {}
    page = (tmp_path / "evaluation" / "report.html").read_text()
    assert models[1].uri in page


def test_pairs_are_read_one_by_one_as_the_file_has_them(world):
    from evaluator_custom.tfma_bridge.pair_examples import read_pair_examples

    pairs = read_pair_examples(f"{world[0]['examples'][0].uri}/Split-lfw", "lfw")
    assert list(pairs.images) == images()
    assert pairs.images[-1] == images()[-1]
    assert pairs.images[3:5] == images()[3:5]
    with pytest.raises(IndexError):
        pairs.images[2 * PAIRS]
    np.testing.assert_array_equal(pairs.digests.ravel(), image_digests(images()))


def test_two_processes_come_to_the_same_verdict(world, first, tmp_path):
    several = list(beam_args("processes", ["--direct_num_workers=2"]))
    conditions = [condition["text"] for condition in first[1]["conditions"]]
    _, verdict, _ = evaluate(world[0], tmp_path, *conditions, beam=several)
    assert verdict["conditions"] == first[1]["conditions"]
    assert verdict["slices"] == first[1]["slices"]


def test_a_set_that_is_too_small_for_the_protocol_blocks_and_breaks_nothing(world, tmp_path):
    (tmp_path / "data").mkdir()
    verification_bin.write(tmp_path / "data" / "tiny.bin", images()[:18], IS_SAME[:9])
    inputs = {**world[0], "examples": [pair_examples(tmp_path, ["tiny"])]}
    _, verdict, _ = evaluate(inputs, tmp_path / "out", "tiny.accuracy >= 0", "tiny.pairs >= 1", sets=["tiny"])
    assert [condition["value"] for condition in verdict["conditions"]] == [None, 9.0]
    assert not verdict["blessed"]
    few = "too few for the protocol: needs 10 pairs; there are 9"
    assert f"  FAILS  tiny.accuracy >= 0: {few}" in verdict_lines(verdict)
    assert verdict["undefined"]["tiny"]["tar"] == few
    assert verdict["sets"]["tiny"]["accuracy"] is None
    assert f"Not judged: {few}." in (tmp_path / "out" / "evaluation" / "report.html").read_text()


def test_pairs_of_one_kind_bless_nothing(world, tmp_path):
    (tmp_path / "data").mkdir()
    verification_bin.write(tmp_path / "data" / "one.bin", images(), np.ones(PAIRS, bool))
    inputs = {**world[0], "examples": [pair_examples(tmp_path, ["one"])]}
    conditions = ("one.accuracy >= 0", "one.accuracy change >= -1", "one.tar >= 0", "one.pairs >= 1")
    _, verdict, _ = evaluate(inputs, tmp_path / "out", *conditions, sets=["one"])
    assert [condition["holds"] for condition in verdict["conditions"]] == [False, False, False, True]
    missing = "the set has no pairs of different people"
    assert [condition["reason"] for condition in verdict["conditions"]] == [missing] * 3 + [None]
    assert not verdict["blessed"]
    assert loads((tmp_path / "out" / "blessing" / BEST_FILE).read_text()) == {}


def test_folds_of_another_cut_are_used_and_said(world, tmp_path):
    _, verdict, _ = evaluate(world[0], tmp_path, "lfw.accuracy >= 0", folds="stratified")
    expected = dataclasses.replace(world[2][0], folds="stratified")
    assert verdict["sets"]["lfw"]["accuracy"] == pytest.approx(expected.result.accuracy)
    assert verdict["sets"]["lfw"]["threshold"] == pytest.approx(expected.result.threshold)
    assert "folds: stratified" in verdict_lines(verdict)
    assert ">folds<" in (tmp_path / "evaluation" / "report.html").read_text()


def test_a_report_that_cannot_be_drawn_takes_no_verdict_with_it(world, tmp_path, capfd):
    (tmp_path / "evaluation" / "report.html").mkdir(parents=True)  # in the report's way
    _, verdict, _ = evaluate(world[0], tmp_path, "lfw.accuracy >= 0")
    assert verdict["blessed"]
    assert "WARNING no report, the verdict stands without it: " in capfd.readouterr().err


def test_what_shows_faces_is_its_owners_alone(first):
    folder = first[2] / "evaluation"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "report_files")} == {0o700}
    shown = [folder / "report.html", *(folder / "report_files").iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in shown} == {0o600}


def _best(digest=None):
    """A model that judged every pair of lfw correctly."""
    digests = image_digests(images()).reshape(-1, 2)
    return Record("models/best", PAIRS, digest or pairs_digest(digests, IS_SAME), "contiguous", 1.0, [])


def test_a_model_that_the_latest_does_not_beat_and_the_best_does_is_not_blessed(world, tmp_path):
    inputs, models, (candidate, other) = world
    latest = record(tmp_path, models[1], dumps({"lfw": _best()}))
    condition = "lfw.accuracy change >= -0.2"
    out = tmp_path / "out"
    _, verdict, blessing = evaluate(inputs, out, condition, baseline=latest)
    (judged,) = verdict["conditions"]
    assert judged["value"] >= -0.2
    assert judged["best"]["difference"] == pytest.approx(candidate.result.accuracy - 1)
    assert judged["best"]["holds"] is judged["holds"] is verdict["blessed"] is False
    assert blessing.get_int_custom_property("blessed") == 0
    assert verdict["best"]["lfw"] == {"accuracy": 1.0, "model": "models/best"}
    text = "\n".join(verdict_lines(verdict))
    assert "; against the best so far (1.0000) -" in text
    assert f"blessed before: lfw {other.result.accuracy:.4f}" in text
    assert "best so far: lfw 1.0000 by models/best" in text
    assert "models/best" in (out / "evaluation" / "report.html").read_text()
    # It is carried on; on the other set the latest blessed model is the best that is known.
    kept = loads((out / "blessing" / BEST_FILE).read_text())
    assert kept["lfw"] == _best()
    assert kept["cfp_fp"].model == path_end(models[1].uri)


def test_a_blessed_model_is_the_best_from_then_on(world, first):
    kept = loads((first[2] / "blessing" / BEST_FILE).read_text())
    assert {name: record.model for name, record in kept.items()} == dict.fromkeys(SETS, path_end(world[1][0].uri))
    np.testing.assert_array_equal(kept["lfw"].correct, world[2][0].result.correct)


@pytest.mark.parametrize("case", ["other pairs", "nothing", "damaged"])
def test_a_best_that_cannot_be_compared_with_is_said_and_starts_anew(world, tmp_path, capfd, case):
    inputs, models, _ = world
    best = {"other pairs": dumps({"lfw": _best("other")}), "nothing": "", "damaged": "{"}[case]
    condition = "lfw.accuracy change >= -0.2"
    _, verdict, _ = evaluate(inputs, tmp_path / "out", condition, baseline=record(tmp_path, models[1], best))
    assert verdict["blessed"]
    assert verdict["best"]["lfw"]["model"] == path_end(models[1].uri)
    assert verdict["conditions"][0]["best"] is None  # it is the latest, which was compared with
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("WARNING")]
    (warning,) = [line for line in warnings if "the best starts anew with the latest blessed model" in line]
    assert ("models/best" in warning) == (case == "other pairs")


@pytest.mark.parametrize("loss", ["model", "all"])
def test_the_baseline_is_the_version_that_is_served_where_the_model_is_gone(world, tmp_path, loss):
    inputs, models, (_, other) = world
    served = tmp_path / "serving" / "arcface" / "100"
    places = str(tmp_path / "gone" / "Format-Serving"), str(served)
    if loss == "model":
        shutil.copytree(f"{models[1].uri}/Format-Serving", served)
    BlessedModel("Exporter/model/9", places, "{}").write(str(tmp_path / "blessed"), "100")
    given = {"baseline": str(tmp_path / "blessed" / "100.json")}
    if loss == "all":
        with pytest.raises(DataError, match=r"Exporter/model/9: expected the SavedModel in .*Received: none"):
            evaluate(inputs, tmp_path / "out", "lfw.accuracy change >= -1", **given)
        return
    _, verdict, blessing = evaluate(inputs, tmp_path / "out", "lfw.accuracy change >= -1", **given)
    assert_figures(verdict["baseline"]["lfw"], other)
    assert verdict["best"]["lfw"]["model"] in ("Exporter/model/9", path_end(models[0].uri))
    # Kubeflow's entry point would look for the baseline's name by its number.
    assert not blessing.has_custom_property("baseline_model_id")
    assert blessing.get_int_custom_property("current_model_id") == models[0].id


def test_a_baseline_in_a_store_that_tensorflow_does_not_know_is_compared_with(world, tmp_path, bucket):
    inputs, models, (_, other) = world
    root = f"s3://{bucket}/runs"
    place = f"{root}/serving/arcface/100"
    copy_folder(f"{models[1].uri}/Format-Serving", place)
    BlessedModel(path_end(models[1].uri), ("/gone", place), "{}").write(f"{root}/blessed", "100")
    given = {"baseline": latest_blessed(f"{root}/blessed")}
    _, verdict, blessing = evaluate(inputs, tmp_path / "out", "lfw.accuracy change >= -1", **given)
    assert_figures(verdict["baseline"]["lfw"], other)
    assert blessing.get_string_custom_property("baseline_model") == place
    assert place in (tmp_path / "out" / "evaluation" / "report.html").read_text()
