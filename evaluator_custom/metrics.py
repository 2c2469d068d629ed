"""The verification protocol as TFMA metrics: one pass collects the pairs of a slice, each metric picks a figure."""

import functools
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from evaluator_custom import protocol
from evaluator_custom.embedder import DISTANCE, XNORM
from trainer_module import features

# Fields of VerificationResult that are one number each.
FIGURES = (
    "accuracy",
    "accuracy_std",
    "threshold",
    "threshold_std",
    "tar",
    "tar_std",
    "far",
    "tar_threshold",
    "xnorm",
    "auc",
    "eer",
    "pairs",
)
# A leading underscore keeps the key out of TFMA's output: the value is a whole VerificationResult.
_RESULT = "_verification"


class VerificationMetric(metric_types.Metric):
    """One figure of InsightFace's 10-fold verification protocol, over the pairs of a slice.

    Folds are cut in the order of `pair_index`, never in the order in which Beam delivers. A figure that is not defined
    (AUC of pairs of one kind) is NaN. Ranges: see `protocol.VerificationResult`.
    """

    def __init__(self, name: str = "accuracy") -> None:
        """Makes the metric.

        Args:
          name: one of `FIGURES`.

        Raises:
          ValueError: any other name.
        """
        if name not in FIGURES:
            raise ValueError(f"expected one of {FIGURES}. Received: name={name!r}")
        super().__init__(_computations, name=name)


metric_types.register_metric(VerificationMetric)


def _computations(
    name: str, model_names: list[str] | None = None, example_weighted: bool = False, **unused: Any
) -> list[metric_types.MetricComputation | metric_types.DerivedMetricComputation]:
    """For each model, the shared pass (which TFMA runs once) and this figure of it."""
    computations: list[Any] = []
    for model_name in model_names or [""]:
        result = metric_types.MetricKey(name=_RESULT, model_name=model_name, example_weighted=example_weighted)
        figure = metric_types.MetricKey(name=name, model_name=model_name, example_weighted=example_weighted)
        computations += [
            metric_types.MetricComputation(
                keys=[result],
                preprocessors=[metric_types.FeaturePreprocessor(feature_keys=[features.PAIR_INDEX])],
                combiner=CollectPairs(result),
            ),
            metric_types.DerivedMetricComputation(keys=[figure], result=functools.partial(_pick, result, figure)),
        ]
    return computations


def _pick(
    result: metric_types.MetricKey, figure: metric_types.MetricKey, metrics: dict[metric_types.MetricKey, Any]
) -> dict[metric_types.MetricKey, float]:
    value = getattr(metrics[result], figure.name)
    return {figure: float("nan") if value is None else float(value)}


class CollectPairs(beam.CombineFn):
    """Collects (pair_index, is_same, distance, xnorm) of a slice, then runs the protocol.

    The protocol needs all pairs at once: 4 numbers a pair, 7,000 pairs in the largest published set.
    """

    def __init__(self, key: metric_types.MetricKey) -> None:
        """Keeps the key, which names the model whose predictions are read."""
        self._key = key

    def create_accumulator(self) -> list[tuple[int, int, float, float]]:
        """No pairs."""
        return []

    def add_input(
        self, accumulator: list[tuple[int, int, float, float]], inputs: metric_types.StandardMetricInputs
    ) -> list[tuple[int, int, float, float]]:
        """Adds one pair."""
        prediction, label = inputs.predictions, inputs.labels
        prediction = prediction[self._key.model_name] if isinstance(prediction, dict) else prediction
        label = label[self._key.model_name] if isinstance(label, dict) else label
        values = np.ravel(prediction)
        index = int(np.ravel(inputs.features[features.PAIR_INDEX])[0])
        accumulator.append((index, int(np.ravel(label)[0]), float(values[DISTANCE]), float(values[XNORM])))
        return accumulator

    def merge_accumulators(self, accumulators: Any) -> list[tuple[int, int, float, float]]:
        """Joins them; order doesn't matter."""
        return [pair for accumulator in accumulators for pair in accumulator]

    def extract_output(
        self, accumulator: list[tuple[int, int, float, float]]
    ) -> dict[metric_types.MetricKey, protocol.VerificationResult]:
        """Runs the protocol on the pairs in file order."""
        pairs = np.array(sorted(accumulator))
        return {self._key: protocol.evaluate(pairs[:, 2], pairs[:, 1] > 0, pairs[:, 3])}


def make_eval_config(sets: tuple[str, ...], min_accuracy: dict[str, float]) -> config_pb2.EvalConfig:
    """What the Evaluator is told: every figure for every set, and the accuracy that each set asks for.

    Args:
      sets: the verification sets that there are.
      min_accuracy: set -> lower bound of the 10-fold accuracy, 0..1, for some of the sets.

    Returns:
      A TFMA configuration; without any bound nothing is ever blessed.

    Raises:
      ValueError: a bound for a set that there isn't.
    """
    unknown = sorted(set(min_accuracy) - set(sets))
    if unknown:
        raise ValueError(f"expected bounds for the sets {sets}. Received: {unknown}")
    thresholds = [
        config_pb2.PerSliceMetricThreshold(
            slicing_specs=[config_pb2.SlicingSpec(feature_values={features.SET: name})],
            threshold=config_pb2.MetricThreshold(
                value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": bound})
            ),
        )
        for name, bound in min_accuracy.items()
    ]
    metrics = [
        config_pb2.MetricConfig(
            class_name=VerificationMetric.__name__,
            module=__name__,
            config=f'{{"name": "{name}"}}',
            per_slice_thresholds=thresholds if name == "accuracy" else [],
        )
        for name in FIGURES
    ]
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(signature_name="verification", label_key=features.IS_SAME, model_type="tf_generic")
        ],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=[features.SET])],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )
