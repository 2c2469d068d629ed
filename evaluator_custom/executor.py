"""Work of the VerificationEvaluator: TFX's Evaluator, then what people and the served model read."""

import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow_model_analysis import constants as tfma_constants
from tfx import types
from tfx.components.evaluator import constants, executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import path_utils

from evaluator_custom import embedder
from evaluator_custom.conditions import parse_all
from evaluator_custom.leaks import find_leak, leak_warnings
from evaluator_custom.one_source import ALL_SPLITS, as_one_split
from evaluator_custom.pair_examples import PairExamples, read_pair_examples, read_training_content
from evaluator_custom.report import EvaluatedSet, write_report
from evaluator_custom.verdict import SetEvaluation, make_verdict, read_evaluation
from serving.export import EXTRA, VERIFICATION_FILE, ModelMetadata
from trainer_module.console import say

TRAINING_EXAMPLES_KEY = "training_examples"
CONDITIONS_KEY = "conditions"
REPORT_FILE = "report.html"

_Artifacts = dict[str, list[types.Artifact]]


class VerificationEvaluatorExecutor(executor.Executor):
    """Evaluates, validates and blesses as TFX does; writes `verification.json` and a report beside its results."""

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: _Artifacts, output_dict: _Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Runs the Beam job."""
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        embedder.expected_pairs = examples.get_int_custom_property("pairs") or None
        super().Do(
            {**input_dict, standard_component_specs.EXAMPLES_KEY: [as_one_split(examples)]},
            output_dict,
            {**exec_properties, standard_component_specs.EXAMPLE_SPLITS_KEY: json.dumps([ALL_SPLITS])},
        )

        sets = {
            name: read_pair_examples(artifact_utils.get_split_uri([examples], name), name)
            for name in json.loads(exec_properties[standard_component_specs.EXAMPLE_SPLITS_KEY])
        }
        attributes = {name: pairs.attributes for name, pairs in sets.items()}
        evaluation = artifact_utils.get_single_instance(output_dict[standard_component_specs.EVALUATION_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
        candidate_name, baseline = "", None
        if input_dict.get(standard_component_specs.BASELINE_MODEL_KEY):
            candidate_name = tfma_constants.CANDIDATE_KEY
            baseline = read_evaluation(evaluation.uri, tfma_constants.BASELINE_KEY, attributes)
        candidate = read_evaluation(evaluation.uri, candidate_name, attributes)
        verdict = make_verdict(
            candidate,
            baseline,
            parse_all(json.loads(exec_properties[CONDITIONS_KEY])),
            _leaks(sets, input_dict.get(TRAINING_EXAMPLES_KEY)),
            blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == constants.BLESSED_VALUE,
        )
        for name, figures in verdict["sets"].items():
            if figures["accuracy"] is not None:
                evaluation.set_float_custom_property(f"{name}_accuracy", figures["accuracy"])
        for folder in (evaluation.uri, blessing.uri):
            with tf.io.gfile.GFile(os.path.join(folder, VERIFICATION_FILE), "w") as f:
                json.dump(verdict, f, indent=2)
        warnings = leak_warnings(verdict["leaks"])
        for warning in warnings:
            say(f"WARNING {warning}")
        _write_report(
            evaluation.uri,
            _evaluated(candidate, sets),
            lineage(input_dict, exec_properties),
            baseline=None if baseline is None else _evaluated(baseline, sets),
            baseline_name=_uri(input_dict, standard_component_specs.BASELINE_MODEL_KEY),
            warnings=warnings,
        )


def _leaks(
    sets: Mapping[str, PairExamples], training_examples: list[types.Artifact] | None
) -> dict[str, dict[str, int]]:
    """What each set shares with the training set; nothing where the training set's content isn't known."""
    if not training_examples:
        return {}
    training = read_training_content(artifact_utils.get_single_uri(training_examples))
    if training is None:
        return {}
    return {name: find_leak(pairs.digests, pairs.identities, training).to_dict() for name, pairs in sets.items()}


def _evaluated(results: Mapping[str, SetEvaluation], sets: Mapping[str, PairExamples]) -> list[EvaluatedSet]:
    """What the report shows: the sets that are large enough for the protocol."""
    return [
        EvaluatedSet(
            name=name,
            result=found.table.result,
            distances=found.table.distances,
            is_same=found.table.is_same,
            images=sets[name].images,
            attributes=dict(found.table.attributes),
        )
        for name, found in results.items()
        if found.table.result is not None
    ]


def lineage(input_dict: _Artifacts, exec_properties: Mapping[str, Any]) -> dict[str, str]:
    """Where the evaluated model comes from, by a short name each; what isn't known is left out.

    Args:
      input_dict: of the executor.
      exec_properties: of the executor.
    """
    model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
    path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
    facts = {
        "model": model.uri,
        **ModelMetadata.read(os.path.join(path, EXTRA)).facts(),
        "training run": f"that of the {model.type_name} artifact {model.id}",
        "training data": _data(input_dict, TRAINING_EXAMPLES_KEY),
        "verification data": _data(input_dict, standard_component_specs.EXAMPLES_KEY),
        "code of the evaluation": str(exec_properties.get("code_version", "")),
        "compared with": _uri(input_dict, standard_component_specs.BASELINE_MODEL_KEY) or "nothing: first model",
    }
    return {name: fact for name, fact in facts.items() if fact}


def _uri(input_dict: _Artifacts, key: str) -> str | None:
    return artifact_utils.get_single_uri(input_dict[key]) if input_dict.get(key) else None


def _data(input_dict: _Artifacts, key: str) -> str:
    """An Examples artifact: where it is, and the digest of the files that it was made from."""
    if not input_dict.get(key):
        return ""
    artifact = artifact_utils.get_single_instance(input_dict[key])
    digest = artifact.get_string_custom_property("content_digest")
    return artifact.uri + (f", made from files with the digest {digest}" if digest else "")


def _write_report(folder: str, sets: list[EvaluatedSet], facts: dict[str, str], **more: Any) -> None:
    """Writes the report and its plots into a folder on any file system that TensorFlow knows."""
    if not sets:
        return
    with tempfile.TemporaryDirectory() as local:
        write_report(os.path.join(local, REPORT_FILE), sets, facts, **more)
        for name in sorted(os.listdir(local)):
            tf.io.gfile.copy(os.path.join(local, name), os.path.join(folder, name), overwrite=True)
