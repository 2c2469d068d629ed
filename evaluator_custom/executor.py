"""Work of the VerificationEvaluator: TFX's Evaluator, then the table that people and the served model read."""

import json
import math
import os
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants as tfma_constants
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import constants, executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from evaluator_custom import embedder
from serving.export import VERIFICATION_FILE


class VerificationEvaluatorExecutor(executor.Executor):
    """Evaluates, validates, blesses as TFX does, and writes `verification.json` beside evaluation and blessing."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the Beam job."""
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        embedder.expected_pairs = examples.get_int_custom_property("pairs") or None
        super().Do(input_dict, output_dict, exec_properties)

        evaluation = artifact_utils.get_single_uri(output_dict[standard_component_specs.EVALUATION_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
        blessed = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == constants.BLESSED_VALUE
        config = config_pb2.EvalConfig()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.EVAL_CONFIG_KEY], config)
        has_baseline = bool(input_dict.get(standard_component_specs.BASELINE_MODEL_KEY))
        sets = json.loads(exec_properties[standard_component_specs.EXAMPLE_SPLITS_KEY])
        verdict = make_verdict(evaluation, config, sets, blessed, has_baseline)
        artifact = artifact_utils.get_single_instance(output_dict[standard_component_specs.EVALUATION_KEY])
        for name, figures in verdict["sets"].items():
            artifact.set_float_custom_property(f"{name}_accuracy", figures["accuracy"])
        for folder in (evaluation, blessing.uri):
            with tf.io.gfile.GFile(os.path.join(folder, VERIFICATION_FILE), "w") as f:
                json.dump(verdict, f, indent=2)


def make_verdict(
    evaluation: str, config: config_pb2.EvalConfig, sets: list[str], blessed: bool, has_baseline: bool
) -> dict[str, Any]:
    """The figures of the candidate, each condition with its figure, and whether it was blessed.

    Args:
      evaluation: folder of TFMA's results.
      config: what the Evaluator was told.
      sets: the verification sets, in the order in which they are reported.
      blessed: TFX's verdict.
      has_baseline: whether a blessed model stood beside the candidate.

    Returns:
      `sets`: set -> figure -> value (None where not defined); `baseline`: the same of the latest blessed model, or
      None; `conditions`: one `{set, figure, lower_bound, value, holds}` each; `blessed`.
    """
    candidate = read_figures(evaluation, tfma_constants.CANDIDATE_KEY if has_baseline else "", sets)
    conditions = [
        {
            "set": condition.slicing_specs[0].feature_values["set"],
            "figure": json.loads(metric.config)["name"],
            "lower_bound": condition.threshold.value_threshold.lower_bound.value,
        }
        for spec in config.metrics_specs
        for metric in spec.metrics
        for condition in metric.per_slice_thresholds
    ]
    for condition in conditions:
        value = candidate.get(condition["set"], {}).get(condition["figure"])
        condition["value"] = value
        condition["holds"] = value is not None and value >= condition["lower_bound"]
    return {
        "sets": candidate,
        "baseline": read_figures(evaluation, tfma_constants.BASELINE_KEY, sets) if has_baseline else None,
        "conditions": conditions,
        "blessed": blessed,
    }


def read_figures(evaluation: str, model_name: str, sets: list[str]) -> dict[str, dict[str, float | None]]:
    """Set -> figure -> value, as `tfma.load_eval_result` reads them; None where a figure is not defined.

    Args:
      evaluation: folder of TFMA's results.
      model_name: TFMA's name of the model; "" if there is one alone.
      sets: the order of the result; a set without figures is left out.
    """
    result = tfma.load_eval_result(evaluation, model_name=model_name or None)
    figures_of: dict[str, dict[str, float | None]] = {}
    for slice_key, metrics in result.slicing_metrics:
        ((_, name),) = slice_key
        figures = metrics[""][""]
        figures_of[name] = {figure: _number(value) for figure, value in figures.items() if not figure.endswith("_diff")}
    return {name: figures_of[name] for name in sets if name in figures_of}


def _number(value: dict[str, float]) -> float | None:
    number = value.get("doubleValue", math.nan)
    return None if math.isnan(number) else number
