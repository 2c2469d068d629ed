"""The verification protocol as TFMA metrics: one pass collects the pairs of a slice, each metric derives its figure."""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.proto import config_pb2

from arcface_common import features
from arcface_common.protocol.comparison import compare
from arcface_common.protocol.conditions import FIGURES, Condition, Cut, sets_of
from arcface_common.protocol.scored_pairs import ScoredPairs
from evaluator_custom.networks.embedder import DISTANCE, XNORM

SCORED_PAIRS = "scored_pairs"
CHANGE = "accuracy_change"
P_VALUE = "accuracy_change_p_value"
# A leading underscore keeps the key out of TFMA's output.
_PAIRS = "_pairs"
_NAN = float("nan")

# (pair_index, is_same, distance, XNorm, attributes as "column=value")
_Row = tuple[int, int, float, float, tuple[str, ...]]
_Derive = Callable[[dict[MetricKey, Any]], dict[MetricKey, Any]]


def gap_name(figure: str, column: str) -> str:
    """TFMA's name of the gap of a figure between the slices of a column."""
    return f"{figure}_gap_{column}"


class VerificationMetric(metric_types.Metric):
    """One figure of InsightFace's 10-fold verification protocol, over the pairs of a slice.

    Folds are cut in the order of `pair_index`, never in the order in which Beam delivers. A figure that the pairs can't
    bear is NaN. Ranges: see `insightface.VerificationResult`.
    """

    def __init__(self, name: str = "accuracy", folds: Cut = "contiguous") -> None:
        """Makes the metric.

        Args:
          name: one of `FIGURES`.
          folds: how they are cut, as for all metrics of this module.

        Raises:
          ValueError: any other name.
        """
        if name not in FIGURES:
            raise ValueError(f"expected one of {FIGURES}. Received: name={name!r}")
        super().__init__(_figure_computations, name=name, folds=folds)


class ScoredPairsMetric(metric_types.Metric):
    """What a model makes of each pair: float64 [N, 3] of distance, mean raw length and is_same, by `pair_index`."""

    def __init__(self, name: str = SCORED_PAIRS, folds: Cut = "contiguous") -> None:
        """Makes the metric."""
        super().__init__(_pairs_computations, name=name, folds=folds)


class AccuracyChange(metric_types.Metric):
    """Accuracy minus that of the baseline on the same pairs; 0 where McNemar's test finds no significant difference.

    Its key is a difference key, so that TFMA's change thresholds apply, which TFX leaves out where no model was blessed
    before. Beside it stands the test's p-value.
    """

    def __init__(self, name: str = CHANGE, folds: Cut = "contiguous") -> None:
        """Makes the metric."""
        super().__init__(_change_computations, name=name, folds=folds)


class SliceGap(metric_types.Metric):
    """Difference of a figure between the best and the worst slice of an attribute, at the threshold of all pairs.

    NaN where fewer than two slices have enough pairs.
    """

    def __init__(self, figure: str, column: str, name: str = "", folds: Cut = "contiguous") -> None:
        """Makes the metric.

        Args:
          figure: one of `conditions.SLICE_FIGURES`.
          column: the attribute.
          name: what `gap_name` gives.
          folds: see `VerificationMetric`.
        """
        name = name or gap_name(figure, column)
        super().__init__(_gap_computations, name=name, figure=figure, column=column, folds=folds)


for _metric in (VerificationMetric, ScoredPairsMetric, AccuracyChange, SliceGap):
    metric_types.register_metric(_metric)


def _collect(model_name: str, example_weighted: bool, folds: Cut) -> metric_types.MetricComputation:
    """The pass that all metrics share; TFMA runs equal ones once."""
    key = MetricKey(name=_PAIRS, model_name=model_name, example_weighted=example_weighted)
    preprocessor = metric_types.FeaturePreprocessor(feature_keys=[features.PAIR_INDEX, features.ATTRIBUTES])
    return metric_types.MetricComputation(keys=[key], preprocessors=[preprocessor], combiner=CollectPairs(key, folds))


def _for_each_model(
    name: str, folds: Cut, model_names: list[str] | None, example_weighted: bool, value: Callable[[ScoredPairs], Any]
) -> list[Any]:
    """Computations of a metric that is a function of one model's pairs."""
    computations: list[Any] = []
    for model_name in model_names or [""]:
        pairs = _collect(model_name, example_weighted, folds)
        key = MetricKey(name=name, model_name=model_name, example_weighted=example_weighted)
        computations += [pairs, _derived([key], functools.partial(_derive, pairs.keys[0], key, value))]
    return computations


def _derived(keys: list[MetricKey], result: _Derive) -> metric_types.DerivedMetricComputation:
    return metric_types.DerivedMetricComputation(keys=keys, result=result)


def _derive(
    pairs: MetricKey, key: MetricKey, value: Callable[[ScoredPairs], Any], metrics: dict[MetricKey, Any]
) -> dict[MetricKey, Any]:
    derived = value(metrics[pairs])
    return {key: _NAN if derived is None else derived}


def _figure_computations(
    name: str, folds: Cut, model_names: list[str] | None = None, example_weighted: bool = False
) -> list[Any]:
    value = functools.partial(ScoredPairs.figure, name=name)
    return _for_each_model(name, folds, model_names, example_weighted, value)


def _pairs_computations(
    name: str, folds: Cut, model_names: list[str] | None = None, example_weighted: bool = False
) -> list[Any]:
    return _for_each_model(name, folds, model_names, example_weighted, ScoredPairs.to_array)


def _gap_computations(
    figure: str,
    column: str,
    name: str,
    folds: Cut,
    model_names: list[str] | None = None,
    example_weighted: bool = False,
) -> list[Any]:
    value = functools.partial(ScoredPairs.gap, figure=figure, column=column)
    return _for_each_model(name, folds, model_names, example_weighted, value)


def _change_computations(
    name: str, folds: Cut, model_names: list[str] | None = None, example_weighted: bool = False
) -> list[Any]:
    names = model_names or [""]
    if constants.BASELINE_KEY not in names:
        return []
    collected = {model: _collect(model, example_weighted, folds) for model in names}
    baseline = collected.pop(constants.BASELINE_KEY)
    computations: list[Any] = [baseline]
    for model, pairs in collected.items():
        key = MetricKey(name=name, model_name=model, example_weighted=example_weighted).make_diff_key()
        p_value = MetricKey(name=P_VALUE, model_name=model, example_weighted=example_weighted)
        derive = functools.partial(_derive_change, pairs.keys[0], baseline.keys[0], key, p_value)
        computations += [pairs, _derived([key, p_value], derive)]
    return computations


def _derive_change(
    candidate: MetricKey, baseline: MetricKey, key: MetricKey, p_value: MetricKey, metrics: dict[MetricKey, Any]
) -> dict[MetricKey, float]:
    found = compare(metrics[candidate], metrics[baseline])
    return {key: found.significant, p_value: found.mcnemar.p_value} if found else {key: _NAN, p_value: _NAN}


class CollectPairs(beam.CombineFn):
    """Collects the pairs of a slice, in any order and any number of parts, and puts them in the published order.

    The protocol needs all pairs at once: 4 numbers a pair, 7,000 pairs in the largest published set.
    """

    def __init__(self, key: MetricKey, folds: Cut) -> None:
        """Keeps the key, which names the model whose predictions are read, and how folds are cut."""
        self._key = key
        self._folds = folds

    def create_accumulator(self) -> list[_Row]:
        """No pairs."""
        return []

    def add_input(self, accumulator: list[_Row], inputs: metric_types.StandardMetricInputs) -> list[_Row]:
        """Adds one pair."""
        prediction, label = inputs.predictions, inputs.labels
        prediction = prediction[self._key.model_name] if isinstance(prediction, dict) else prediction
        label = label[self._key.model_name] if isinstance(label, dict) else label
        values = np.ravel(prediction)
        index = int(np.ravel(inputs.features[features.PAIR_INDEX])[0])
        attributes = _texts(inputs.features.get(features.ATTRIBUTES))
        accumulator.append((index, int(np.ravel(label)[0]), float(values[DISTANCE]), float(values[XNORM]), attributes))
        return accumulator

    def merge_accumulators(self, accumulators: Any) -> list[_Row]:
        """Joins them; order doesn't matter."""
        return [pair for accumulator in accumulators for pair in accumulator]

    def extract_output(self, accumulator: list[_Row]) -> dict[MetricKey, ScoredPairs]:
        """The pairs in file order."""
        rows = sorted(accumulator)
        columns = sorted({text.partition("=")[0] for row in rows for text in row[4]})
        known = [dict(text.split("=", 1) for text in row[4]) for row in rows]
        return {
            self._key: ScoredPairs(
                distances=np.array([row[2] for row in rows]),
                is_same=np.array([row[1] > 0 for row in rows], np.bool_),
                norms=np.array([row[3] for row in rows]),
                attributes={column: [values.get(column, "") for values in known] for column in columns},
                folds=self._folds,
            )
        }


def _texts(value: Any) -> tuple[str, ...]:
    """The values of a feature that may have any number, or be absent."""
    values = getattr(value, "values", value)  # of a sparse tensor
    return () if values is None else tuple(text.decode() for text in np.ravel(values).tolist())


def make_eval_config(conditions: Sequence[Condition], folds: Cut = "contiguous") -> config_pb2.EvalConfig:
    """What the Evaluator is told: every figure for every set and slice, and the conditions as TFMA's thresholds.

    Args:
      conditions: what the candidate must fulfil; one on a set without data is never fulfilled. TFMA is told all but
        those on leaks.
      folds: how they are cut.

    Returns:
      A TFMA configuration; without any condition nothing is ever blessed.
    """
    metrics = [_metric_config(VerificationMetric, name, folds) for name in FIGURES]
    metrics += [_metric_config(ScoredPairsMetric, SCORED_PAIRS, folds), _metric_config(AccuracyChange, CHANGE, folds)]
    by_name = {json.loads(metric.config)["name"]: metric for metric in metrics}
    for name in sets_of(tuple(conditions)):
        # TFX drops change thresholds where no model was blessed before; a missing set has to block all the same.
        _add_threshold(by_name["pairs"], Condition(name, "pairs", "value", ">=", 1.0))
    for condition in conditions:
        if condition.kind == "leak":
            continue  # of data, which TFMA doesn't see: the executor holds it
        name = metric_name(condition)
        if name not in by_name:
            by_name[name] = _metric_config(SliceGap, name, folds, figure=condition.figure, column=condition.column)
        _add_threshold(by_name[name], condition)
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(signature_name="verification", label_key=features.IS_SAME, model_type="tf_generic")
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(feature_keys=[features.SET]),
            config_pb2.SlicingSpec(feature_keys=[features.SET, features.ATTRIBUTES]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=list(by_name.values()))],
    )


def metric_name(condition: Condition) -> str:
    """TFMA's name of the metric that a condition bounds."""
    if condition.kind == "gap":
        return gap_name(condition.figure, condition.column)
    return CHANGE if condition.kind == "change" else condition.figure


def _metric_config(kind: type[metric_types.Metric], name: str, folds: Cut, **arguments: str) -> config_pb2.MetricConfig:
    config = json.dumps({"name": name, "folds": folds, **arguments})
    return config_pb2.MetricConfig(class_name=kind.__name__, module=__name__, config=config)


def _add_threshold(metric: config_pb2.MetricConfig, condition: Condition) -> None:
    """Makes TFMA hold a metric of one set against a bound."""
    threshold = config_pb2.MetricThreshold()
    if condition.kind == "change":
        threshold.change_threshold.absolute.value = condition.bound
        threshold.change_threshold.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
    elif condition.sign == ">=":
        threshold.value_threshold.lower_bound.value = condition.bound
    else:
        threshold.value_threshold.upper_bound.value = condition.bound
    spec = config_pb2.SlicingSpec(feature_values={features.SET: condition.set})
    metric.per_slice_thresholds.add(slicing_specs=[spec], threshold=threshold)
