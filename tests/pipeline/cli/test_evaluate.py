"""`evaluate` on models of ours and others': the same figures from the same network, and errors that name the flag."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import tensorflow as tf
from click.testing import CliRunner
from scipy.stats import binomtest

from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from arcface_common.protocol import insightface
from arcface_common.protocol.scored_pairs import ScoredPairs
from components.formats import verification_bin
from evaluator_custom.networks.foreign import EmbedderOptions, load_embedder
from pipeline.cli import main
from pipeline.evaluation.verification import compared, evaluate_set
from serving import export
from tests.helpers import ROOT, jpeg
from tests.trainer_module.weights.onnx_networks import mobilefacenet
from tests.unwritable import unwritable
from trainer_module import backbones

PAIRS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two sets; one network as our export and as a plain SavedModel; an ONNX file of another."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "data").mkdir()
    for number, name in enumerate(("lfw", "cfp_fp")):
        # Who is the same is nothing but a label, so that every network gets about half of them wrong, each its own.
        images = [jpeg(1000 * number + i) for i in range(2 * PAIRS)]
        verification_bin.write(folder / "data" / f"{name}.bin", images, [i % 2 == 0 for i in range(PAIRS)])
    backbone = backbones.build("iresnet_tiny", embedding_dim=16)
    metadata = ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {})
    export.export_saved_model(backbone, str(folder / "ours"), metadata)
    plain = tf.Module()
    plain.weights = backbone.variables  # Keras would write much of each layer
    plain.call = tf.function(
        lambda pixels: {"y": backbone(pixels, training=False)},
        input_signature=[tf.TensorSpec([None, 112, 112, 3], tf.float32, name="pixels")],
    )
    tf.saved_model.save(plain, str(folder / "plain"), signatures={"serve": plain.call})
    onnx.save(mobilefacenet(folded=True, blocks=(1, 1, 1, 1), scale=1, dim=16), folder / "mbf.onnx")
    return folder


@pytest.fixture
def run(world, capfd):
    """Runs the command: its exit code, and what it printed on both streams."""

    def call(model, *arguments):
        arguments = [str(world / model), "--data", str(world / "data"), *map(str, arguments)]
        result = CliRunner().invoke(main, ["evaluate", "sets", *arguments])
        return result.exit_code, result.output + capfd.readouterr().err

    return call


def test_help_answers_without_tensorflow():
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main(['evaluate', 'sets', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'tfx', 'onnxruntime', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "Examples: arcface-tfx evaluate sets" in result.stdout
    assert "127.5 and 127.5" in " ".join(result.stdout.split())  # what arcface_torch's ONNX take
    assert "heavy: []" in result.stdout


def test_a_plain_saved_model_is_judged_as_its_own_export_is(run, world, tmp_path):
    figures = tmp_path / "figures.json"
    code, output = run("ours", "--compare", world / "plain", "--output", figures)
    assert code == 0, output
    values = json.loads(figures.read_text())
    assert list(values) == ["lfw", "cfp_fp"]
    for found in values.values():
        comparison = found.pop("comparison")
        assert comparison["model"] == str(world / "plain")
        assert comparison["figures"]["undefined"] == found["undefined"]
        for figure in ("accuracy", "threshold", "auc", "eer", "xnorm"):
            assert comparison["figures"][figure] == pytest.approx(found[figure], rel=1e-4)
        assert comparison["figures"]["wrong_pairs"] == found["wrong_pairs"] != []
        assert comparison["accuracy_difference"] == 0
        assert comparison["mcnemar"] == {"only_first": 0, "only_second": 0, "p_value": 1.0}
    assert output.count("+0.0000, no significant difference (p = 1)") == 2
    code, alone = run("plain", "--sets", "lfw")
    assert code == 0
    assert f"{values['lfw']['accuracy']:.4f} ± {values['lfw']['accuracy_std']:.4f}" in alone


def test_two_networks_side_by_side(run, world, tmp_path):
    figures = tmp_path / "sub" / "figures.json"
    flags = ["--mean", 127.5, "--scale", 127.5, "--sets", "lfw"]
    code, output = run("ours", "--compare", world / "mbf.onnx", *flags, "--output", figures)
    assert code == 0, output
    lfw = json.loads(figures.read_text())["lfw"]
    comparison = lfw["comparison"]

    pairs = verification_bin.read(world / "data" / "lfw.bin")
    options = EmbedderOptions(pixels=PixelFormat(mean=127.5, scale=127.5))
    distances, norms = insightface.pair_distances(*load_embedder(str(world / "mbf.onnx"), options).embed(pairs.images))
    expected = insightface.evaluate(distances, pairs.is_same, norms)
    assert comparison["figures"]["accuracy"] == expected.accuracy
    assert comparison["figures"]["xnorm"] == pytest.approx(expected.xnorm, rel=1e-4)
    assert comparison["accuracy_difference"] == pytest.approx(lfw["accuracy"] - expected.accuracy)

    first, second = set(lfw["wrong_pairs"]), set(comparison["figures"]["wrong_pairs"])
    only_first, only_second = len(second - first), len(first - second)
    assert (comparison["mcnemar"]["only_first"], comparison["mcnemar"]["only_second"]) == (only_first, only_second)
    p_value = binomtest(only_first, only_first + only_second).pvalue
    assert comparison["mcnemar"]["p_value"] == pytest.approx(p_value)
    assert f"{comparison['accuracy_difference']:+.4f}, {comparison['verdict']}" in output
    assert f"first   {world / 'ours'}" in output


def test_the_colour_of_a_foreign_network_is_no_matter_of_ours(run, world, tmp_path):
    figures = tmp_path / "figures.json"
    code, _ = run("ours", "--sets", "lfw", "--output", figures)
    straight = json.loads(figures.read_text())["lfw"]["xnorm"]
    assert code == 0
    code, _ = run("ours", "--colour", "bgr", "--compare", world / "plain", "--sets", "lfw", "--output", figures)
    assert code == 0
    lfw = json.loads(figures.read_text())["lfw"]
    assert lfw["xnorm"] == straight
    assert lfw["comparison"]["figures"]["xnorm"] != pytest.approx(straight, rel=1e-5)
    code, _ = run("ours", "--colour", "bgr", "--sets", "lfw", "--output", figures)
    assert code == 0
    exchanged = json.loads(figures.read_text())["lfw"]["xnorm"]
    assert exchanged == pytest.approx(lfw["comparison"]["figures"]["xnorm"], rel=1e-4)


def test_an_option_that_no_model_would_mind_is_refused(run):
    code, output = run("ours", "--mean", 0, "--input", "x")
    assert code == 2
    assert "expected --colour alone for a model of this project" in output
    assert "Received: --input, --mean" in output or "Received: --mean, --input" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--node", "nothing"], r"expected --node to name one. Received: nothing, of v"),
        (["--layout", "nhwc"], "expected --layout nchw or nhwc"),
        (["--scale", "0"], "Invalid value for '--scale': 0.0 is not in the range x>0"),
        (
            ["--sets", "lfw,nothing"],
            "nothing.bin: expected a verification set. Received: no such file; there are cfp_fp",
        ),
        (["--sets", "../data/lfw"], "../data/lfw.bin: expected a verification set. Received: no such file"),
        (["--sets", "lfw,lfw"], "--sets: expected each set once. Received: 'lfw' twice"),
        (["--sets", ""], "--sets: expected names of sets, comma-separated. Received: ''"),
        (["--sets", "lfw,"], "--sets: expected names of sets, comma-separated. Received: 'lfw,'"),
        (["--resize"], "No such option '--resize'"),
    ],
)
def test_wrong_flags_end_with_exit_code_2(run, arguments, message):
    code, output = run("mbf.onnx", *arguments)
    assert code == 2
    assert message in output


@pytest.mark.parametrize(("option", "name"), [("--output", "x.json"), ("--report", "deep/x.html")])
def test_nothing_is_written_among_the_sets(run, world, option, name):
    before = sorted((world / "data").rglob("*"))
    code, output = run("mbf.onnx", option, world / "data" / name)
    assert code == 2
    assert f"{option}: expected a file outside of" in output
    assert sorted((world / "data").rglob("*")) == before


def test_a_broken_image_is_named(run, world, tmp_path):
    images = [jpeg(i) for i in range(40)]
    images[13] = images[13][:500]
    (tmp_path / "data").mkdir()
    verification_bin.write(tmp_path / "data" / "lfw.bin", images, [i % 2 == 0 for i in range(20)])
    code, output = run("mbf.onnx", "--data", tmp_path / "data")
    assert code == 2
    assert "lfw.bin: pair 6, second image: expected a whole image. Received: 500 bytes without an end marker" in output


def test_the_report_says_how_a_foreign_network_was_fed(run, tmp_path):
    page = tmp_path / "page.html"
    code, output = run("mbf.onnx", "--scale", 127.5, "--sets", "lfw", "--report", page)
    assert code == 0, output
    text = page.read_text()
    assert "ONNX, by onnxruntime" in text
    assert "112 x 112 pixels, nchw" in text
    assert f"{page}: written" in output


def test_attributes_beside_a_set_reach_the_report_and_are_checked(run, world, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(world / "data" / "lfw.bin", data)
    rows = [f"{i},{'indoor' if i < PAIRS else 'outdoor'},{i // 2}" for i in range(2 * PAIRS)]
    (data / "lfw.csv").write_text("\n".join(["image,place,identity", *rows]))
    evaluated = evaluate_set(load_embedder(str(world / "ours"), EmbedderOptions()), "lfw", str(data / "lfw.bin"))
    assert evaluated.attributes == {"place": ["indoor"] * (PAIRS // 2) + ["outdoor"] * (PAIRS // 2)}
    page = tmp_path / "page.html"
    code, output = run("ours", "--data", data, "--compare", world / "plain", "--report", page)
    assert code == 0, output
    assert str(world / "plain") in page.read_text()

    (data / "lfw.csv").write_text("\n".join(["image,place,identity", *rows[1:]]))
    code, output = run("ours", "--data", data)
    assert code == 2
    assert "lfw.csv: expected a row for each of the 120 images. Received: none for image 0" in output


def _data(folder, **sets):
    """A folder of sets, each of so many pairs as `is_same` says."""
    folder.mkdir()
    for name, is_same in sets.items():
        images = [jpeg(i) for i in range(2 * len(is_same))]
        verification_bin.write(folder / f"{name}.bin", images, is_same)
    return folder


def test_any_set_is_found_where_none_of_the_usual_is_there(run, tmp_path):
    data = _data(tmp_path / "data", calfw=[i % 2 == 0 for i in range(20)], mine=[i % 2 == 0 for i in range(20)])
    (data / "._mine.bin").write_bytes(b"what another system leaves")
    code, output = run("ours", "--data", data)
    assert code == 0, output
    assert [line.split()[0] for line in output.splitlines() if " ± 0." in line] == ["calfw", "mine"]
    assert f"sets: calfw, mine, all that are in {data}" in output


def test_a_folder_without_sets_names_what_is_expected(run, tmp_path):
    (tmp_path / "data").mkdir()
    code, output = run("ours", "--data", tmp_path / "data")
    assert code == 2
    assert f"{tmp_path}/data/<set>.bin: expected a verification set. Received: no such file" in output


def test_few_pairs_end_with_the_files_name_before_a_network_is_loaded(run, world, tmp_path):
    data = _data(tmp_path / "data", lfw=[True, False] * 4)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "saved_model.pb").touch()  # no model at all
    code, output = run(tmp_path / "none", "--data", data)
    assert code == 2
    assert f"{data}/lfw.bin: too few for the protocol: expected at least 10 pairs. Received: 8" in output


def test_a_model_is_not_compared_with_itself(run, world, tmp_path):
    (tmp_path / "link").symlink_to(world / "ours")
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "3").symlink_to(world / "ours")
    for other in (world / "ours", tmp_path / "link", tmp_path / "versions"):
        code, output = run("ours", "--compare", other)
        expected = f"--compare: expected another model than '{world / 'ours'}'. Received: the same, '{other}'"
        assert (code, expected in output) == (2, True), output


def test_pairs_of_one_kind_are_dashes_with_their_reason(run, world, tmp_path):
    data = _data(tmp_path / "data", lfw=[True] * 20)
    figures, page = tmp_path / "figures.json", tmp_path / "page.html"
    code, output = run("ours", "--data", data, "--output", figures, "--report", page)
    assert code == 0, output
    [row] = [line.split() for line in output.splitlines() if line.startswith("lfw ")]
    assert row[:5] == ["lfw", "20", "-", "-", "-"]
    reason = "the set has no pairs of different people"
    assert f"-  accuracy, TAR@FAR=1e-2, TAR@FAR=1e-3 of lfw: {reason}" in output
    values = json.loads(figures.read_text())["lfw"]
    assert values["accuracy"] is values["tar"] is values["threshold"] is None
    assert values["undefined"]["accuracy"] == values["undefined"]["tar"] == reason
    assert f"Not judged: {reason}." in page.read_text()
    code, output = run("ours", "--data", data, "--compare", world / "plain")
    assert code == 0
    assert f"-, no comparison: {reason}" in output


def test_folds_of_a_set_sorted_by_kind(run, tmp_path):
    data = _data(tmp_path / "data", lfw=[True] * 20 + [False] * 20)
    figures = tmp_path / "figures.json"
    code, output = run("ours", "--data", data, "--output", figures)
    assert code == 0
    assert "WARNING lfw: no pairs of one person in folds 6, 7, 8, 9, 10 and no pairs of different people" in output
    assert "InsightFace's script counts their rates as 0: TAR " in output
    assert json.loads(figures.read_text())["lfw"]["folds"] == "contiguous"
    page = tmp_path / "page.html"
    code, output = run("ours", "--data", data, "--output", figures, "--folds", "stratified", "--report", page)
    assert code == 0
    assert "WARNING" not in output
    assert "folds: stratified" in output
    assert ">stratified<" in page.read_text()
    lfw = json.loads(figures.read_text())["lfw"]
    assert lfw["folds"] == "stratified"
    pairs = verification_bin.read(data / "lfw.bin")
    wrong = np.ones(40, bool)
    wrong[lfw["wrong_pairs"]] = False
    folds = np.tile(np.repeat(np.arange(10), 2), 2)
    assert len(pairs) == 40
    np.testing.assert_allclose([wrong[folds == fold].mean() for fold in range(10)], lfw["accuracies"])


def test_a_report_that_cannot_be_written_leaves_the_figures(run, tmp_path):
    figures, page = tmp_path / "figures.json", tmp_path / "page.html"
    asked = ("ours", "--sets", "lfw", "--report", page)
    assert run(*asked)[0] == 0
    with unwritable(tmp_path / "page_files"):
        code, output = run(*asked, "--output", figures)
    assert code == 2
    assert "page_files" in output.replace("\n", "")
    assert "lfw" in json.loads(figures.read_text())
    assert " ± " in output


def test_a_report_whose_plots_no_folder_can_hold_is_refused_before_anything_is_read(run, tmp_path):
    code, output = run("ours", "--sets", "lfw", "--report", tmp_path / f"{'p' * 250}.html")
    assert code == 2
    assert "File name too long" in output
    assert " ± " not in output


def test_a_report_in_whose_way_something_lies_is_refused_before_anything_is_read(run, tmp_path):
    (tmp_path / "page_files").mkdir()
    (tmp_path / "page_files" / "notes.txt").write_text("mine")
    code, output = run("ours", "--sets", "lfw", "--report", tmp_path / "page.html")
    assert code == 2
    assert "page_files: expected nothing, or the plots of an earlier report" in output.replace("\n", " ")
    assert " ± " not in output


def test_the_better_of_two_models_is_named():
    same = np.arange(2000) % 2 == 0
    good = np.where(same, 0.5, 1.5)
    bad = good.copy()
    bad[:100] = np.where(same[:100], 1.5, 0.5)
    first, second = ScoredPairs(good, same), ScoredPairs(bad, same)
    forward, backward = compared(first, second), compared(second, first)
    assert forward["verdict"] == "the first is better (p < 0.0001)"
    assert backward["verdict"] == "the second is better (p < 0.0001)"
    assert forward["accuracy_difference"] == pytest.approx(0.05)
    assert backward["accuracy_difference"] == pytest.approx(-0.05)
