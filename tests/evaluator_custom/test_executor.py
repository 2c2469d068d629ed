"""The VerificationEvaluator on a real exported model: the protocol's figures on in-process embeddings come out."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from components.pair_example_gen.executor import PairExampleGenExecutor
from evaluator_custom import metrics, protocol
from evaluator_custom.executor import VERIFICATION_FILE, VerificationEvaluatorExecutor
from pipeline.create import schema_text
from serving import export, signatures
from tests.helpers import jpeg, write_pairs
from trainer_module import backbones
from trainer_module.features import PixelFormat

pytestmark = pytest.mark.slow
PAIRS = 40
BEAM = ["--runner=FnApiRunner"]


def _artifact(kind, uri):
    artifact = kind()
    artifact.uri = str(uri)
    artifact.id = 1
    return artifact


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model, the examples of two sets, and the pair schema."""
    folder = tmp_path_factory.mktemp("evaluator")
    for name in ("lfw", "cfp_fp"):
        write_pairs(folder / "data", name, PAIRS)
    examples = _artifact(standard_artifacts.Examples, folder / "examples")
    PairExampleGenExecutor(BaseBeamExecutor.Context(beam_pipeline_args=BEAM, tmp_dir=str(folder / "tmp"))).Do(
        {},
        {"examples": [examples]},
        {"input_base": str(folder / "data"), "options": json.dumps({"sets": ["lfw", "cfp_fp"]})},
    )
    io_utils.write_string_file(str(folder / "schema" / "schema.pbtxt"), schema_text("pairs"))
    backbone = backbones.build("iresnet_tiny", embedding_dim=16)
    model = _artifact(standard_artifacts.Model, folder / "model")
    metadata = export.ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {})
    export.export_saved_model(backbone, f"{model.uri}/Format-Serving", metadata)
    schema = _artifact(standard_artifacts.Schema, folder / "schema")
    return {"examples": [examples], "model": [model], "schema": [schema]}, backbone


def _evaluate(world, out, bounds, baseline=None):
    inputs = dict(world[0])
    if baseline:
        inputs["baseline_model"] = baseline
    evaluation = _artifact(standard_artifacts.ModelEvaluation, out / "evaluation")
    blessing = _artifact(standard_artifacts.ModelBlessing, out / "blessing")
    context = BaseBeamExecutor.Context(beam_pipeline_args=BEAM, tmp_dir=str(out / "tmp"))
    VerificationEvaluatorExecutor(context).Do(
        inputs,
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(metrics.make_eval_config(("lfw", "cfp_fp"), bounds)),
            "example_splits": json.dumps(["lfw", "cfp_fp"]),
            "module_path": "evaluator_custom.embed_pairs",
            "fairness_indicator_thresholds": "null",
        },
    )
    return evaluation, blessing, json.loads((out / "evaluation" / VERIFICATION_FILE).read_text())


def _expected(backbone):
    images = []
    for i in range(PAIRS):
        images += [jpeg(1000 + i), jpeg(1000 + i if i % 2 == 0 else 5000 + i)]
    model = signatures.EmbeddingModel(backbone, PixelFormat())
    answer = model.verify(tf.constant(images))
    return protocol.evaluate_embeddings(answer["raw"], answer["raw_mirrored"], np.arange(PAIRS) % 2 == 0)


def test_figures_blessing_and_tfmas_reader(world, tmp_path):
    evaluation, blessing, verdict = _evaluate(world, tmp_path, {"lfw": 0.5})
    expected = _expected(world[1])
    assert list(verdict["sets"]) == ["lfw", "cfp_fp"]  # in the configured order, whatever TFMA's
    for name in ("lfw", "cfp_fp"):
        figures = verdict["sets"][name]
        assert set(figures) == set(metrics.FIGURES)
        for figure in metrics.FIGURES:
            assert figures[figure] == pytest.approx(getattr(expected, figure), rel=1e-4), figure
    assert verdict["blessed"]
    assert verdict["baseline"] is None
    assert verdict["conditions"] == [
        {
            "set": "lfw",
            "figure": "accuracy",
            "lower_bound": 0.5,
            "value": verdict["sets"]["lfw"]["accuracy"],
            "holds": True,
        }
    ]
    assert (tmp_path / "blessing" / "BLESSED").exists()
    assert json.loads((tmp_path / "blessing" / VERIFICATION_FILE).read_text()) == verdict
    slices = {key for key, _ in tfma.load_eval_result(evaluation.uri).slicing_metrics}
    assert slices == {(("set", "lfw"),), (("set", "cfp_fp"),)}


def test_a_bound_that_is_not_reached_blocks_and_a_baseline_stands_beside(world, tmp_path):
    _, _, verdict = _evaluate(world, tmp_path, {"cfp_fp": 1.01}, baseline=world[0]["model"])
    assert not verdict["blessed"]
    assert [condition["holds"] for condition in verdict["conditions"]] == [False]
    assert not (tmp_path / "blessing" / "BLESSED").exists()
    assert verdict["baseline"] == verdict["sets"]
