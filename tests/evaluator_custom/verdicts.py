"""Verdicts of the VerificationEvaluator on real models of a tiny network."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from arcface_common.artifacts import VERIFICATION_FILE
from arcface_common.digests import IDENTITIES_FILE, IMAGE_DIGESTS_FILE, image_digests
from arcface_common.features import PixelFormat
from arcface_common.filesystem import path_end
from arcface_common.model_metadata import ModelMetadata
from arcface_common.protocol import insightface
from arcface_common.protocol.conditions import FIGURES
from arcface_common.protocol.scored_pairs import ScoredPairs
from components.formats import verification_bin
from components.latest_blessed.records import BlessedModel
from components.pair_example_gen.component import PairExampleGen
from components.pair_example_gen.executor import PairExampleGenExecutor
from evaluator_custom.executor import VerificationEvaluatorExecutor
from pipeline.beam import beam_args
from pipeline.create import schema_text
from serving import export, signatures
from tests.helpers import jpeg
from trainer_module import backbones

PAIRS = 80
SETS = ("lfw", "cfp_fp")
BEAM = list(beam_args("local"))
# What is said about a pair has little to do with what it shows, so that a model makes mistakes of both kinds.
IS_SAME = np.arange(PAIRS) * 7 % 5 < 2
# Pairs of lfw are within a, within b, and every fourth one across.
GROUPS = ["a" if i // 2 % 2 == 0 or i % 8 == 6 else "b" for i in range(2 * PAIRS)]


def artifact_at(kind, uri, number=1):
    artifact = kind()
    artifact.uri = str(uri)
    artifact.id = number
    return artifact


def images():
    images = []
    for i in range(PAIRS):
        images += [jpeg(1000 + i), jpeg(1000 + i if i % 10 == 0 else 5000 + i)]
    return images


def write_attributes(path):
    with open(path, "w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["image", "group", "identity"])
        writer.writerows([i, GROUPS[i], i if i < 6 else f"name {i}"] for i in range(2 * PAIRS))


def training_examples(folder):
    """What RecordExampleGen leaves: three images of the sets and 50 others, and the identities 4 and 99."""
    folder.mkdir()
    known = [*images()[:3], *(jpeg(i) for i in range(50))]
    np.save(folder / IMAGE_DIGESTS_FILE, np.unique(image_digests(known)))
    np.save(folder / IDENTITIES_FILE, np.array([4, 99]))
    return artifact_at(standard_artifacts.Examples, folder)


def export_model(uri, seed):
    tf.keras.utils.set_random_seed(seed)
    backbone = backbones.build("iresnet_tiny", embedding_dim=16)
    metadata = ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {"steps": 7})
    export.export_saved_model(backbone, f"{uri}/Format-Serving", metadata)
    return backbone


def pair_examples(folder, sets):
    examples = artifact_at(standard_artifacts.Examples, folder / "examples")
    data = str(folder / "data")
    properties = {
        "input_base": data,
        "input_config": PairExampleGen(data, sets).exec_properties["input_config"],
        "options": json.dumps({"sets": sets}),
    }
    context = BaseBeamExecutor.Context(beam_pipeline_args=BEAM, tmp_dir=str(folder / "tmp"))
    PairExampleGenExecutor(context).Do({}, {"examples": [examples]}, properties)
    return examples


def expected_pairs(backbone):
    """The pairs as an in-process model sees them."""
    model = signatures.EmbeddingModel(backbone, PixelFormat())
    answer = model.verify(tf.constant(images()))
    distances, norms = insightface.pair_distances(answer["raw"], answer["raw_mirrored"])
    groups = [" / ".join(sorted(set(GROUPS[2 * i : 2 * i + 2]))) for i in range(PAIRS)]
    return ScoredPairs(distances, IS_SAME, norms, {"group": groups})


def record(out, model, best="{}"):
    """The record of a blessed model, the artifact `model`; returns its path."""
    BlessedModel(path_end(model.uri), (f"{model.uri}/Format-Serving",), best).write(str(out / "blessed"), "100")
    return str(out / "blessed" / "100.json")


def evaluate(inputs, out, *conditions, baseline="", sets=SETS, beam=BEAM, folds="contiguous", start=""):
    evaluation = artifact_at(standard_artifacts.ModelEvaluation, out / "evaluation")
    blessing = artifact_at(standard_artifacts.ModelBlessing, out / "blessing")
    context = BaseBeamExecutor.Context(beam_pipeline_args=beam, tmp_dir=str(out / "tmp"))
    VerificationEvaluatorExecutor(context).Do(
        inputs,
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "example_splits": json.dumps(sets),
            "module_path": "evaluator_custom.tfma_bridge.embed_pairs",
            "fairness_indicator_thresholds": "null",
            "baseline": baseline,
            "conditions": ", ".join(conditions),
            "folds": folds,
            "start": start,
            "start_digest": "",
            "code_version": "c0de",
        },
    )
    verdict = json.loads((out / "evaluation" / VERIFICATION_FILE).read_text())
    assert (out / "blessing" / "BLESSED").exists() == verdict["blessed"]
    assert (out / "blessing" / "NOT_BLESSED").exists() == (not verdict["blessed"])
    assert blessing.get_int_custom_property("blessed") == verdict["blessed"]
    assert verdict["blessed"] == all(condition["holds"] for condition in verdict["conditions"])
    return evaluation, verdict, blessing


def assert_figures(found, expected):
    for figure in FIGURES:
        value = expected.figure(figure)
        assert found[figure] == (None if value is None else pytest.approx(value, rel=1e-4)), figure


def world_in(folder):
    """Two models, the examples of two sets (one with attributes), a training set's digests, and the pair schema.

    Returns:
      The evaluator's inputs with the first model, both models, and the expected pairs of each.
    """
    (folder / "data").mkdir()
    for name in SETS:
        verification_bin.write(folder / "data" / f"{name}.bin", images(), IS_SAME)
    write_attributes(folder / "data" / "lfw.csv")
    examples = pair_examples(folder, SETS)
    io_utils.write_string_file(str(folder / "schema" / "schema.pbtxt"), schema_text("pairs"))
    models = [artifact_at(standard_artifacts.Model, folder / f"model{i}", 10 + i) for i in range(2)]
    backbones_ = [export_model(model.uri, seed) for seed, model in enumerate(models)]
    inputs = {
        "examples": [examples],
        "model": models[:1],
        "schema": [artifact_at(standard_artifacts.Schema, folder / "schema")],
        "training_examples": [training_examples(folder / "training")],
    }
    return inputs, models, [expected_pairs(backbone) for backbone in backbones_]
