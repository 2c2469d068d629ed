"""Reads an evaluation back from TFMA, and says which conditions hold: the content of `verification.json`."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

from evaluator_custom.conditions import FIGURES, SLICE_FIGURES, Condition
from evaluator_custom.metrics import CHANGE, P_VALUE, PAIR_TABLE, metric_name
from evaluator_custom.pair_table import PairTable
from trainer_module import features

_DIFFERENCE = "_diff"  # what TFMA appends to the names of differences to the baseline


@dataclasses.dataclass(frozen=True)
class SetEvaluation:
    """A model's results on one set.

    Attributes:
      metrics: TFMA's name -> value, of every metric that is one number; None where it is not defined.
      table: what the model makes of each pair.
    """

    metrics: Mapping[str, float | None]
    table: PairTable

    def figures(self) -> dict[str, float | None]:
        """The protocol's figures."""
        return {name: self.metrics[name] for name in FIGURES}


def read_evaluation(
    evaluation: str, model_name: str, attributes: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[str, SetEvaluation]:
    """Reads the results on each set by `tfma.load_eval_result`.

    Args:
      evaluation: folder of TFMA's results.
      model_name: TFMA's name of the model; "" if there is one alone.
      attributes: set -> column -> value of each pair, in the order of the result.

    Returns:
      Set -> results; a set without data is left out.
    """
    result = tfma.load_eval_result(evaluation, model_name=model_name or None)
    values_of = {
        dict(slice_key)[features.SET]: metrics[""][""]
        for slice_key, metrics in result.slicing_metrics
        if len(slice_key) == 1
    }
    found = {}
    for name in attributes:
        if name not in values_of:
            continue
        values = dict(values_of[name])
        table = values.pop(PAIR_TABLE)["arrayValue"]
        array = np.array(table["float64Values"]).reshape([int(size) for size in table["shape"]])
        numbers = {metric: _number(value) for metric, value in values.items() if "arrayValue" not in value}
        found[name] = SetEvaluation(numbers, PairTable.from_array(array, attributes[name]))
    return found


def _number(value: dict[str, Any]) -> float | None:
    number = float(value.get("doubleValue", math.nan))
    return None if math.isnan(number) else number


def make_verdict(
    candidate: Mapping[str, SetEvaluation],
    baseline: Mapping[str, SetEvaluation] | None,
    conditions: Sequence[Condition],
    leaks: Mapping[str, dict[str, Any]],
    blessed: bool,
) -> dict[str, Any]:
    """What `verification.json` says.

    Args:
      candidate: its results by set, in the order in which they are reported.
      baseline: those of the latest blessed model; None where there is none.
      conditions: what the candidate was held against.
      leaks: set -> what it shares with the training set, as `leaks.Leak` has it.
      blessed: TFX's verdict.

    Returns:
      `sets`: set -> figure -> value (None where not defined); `baseline`: the same of the latest blessed model, or
      None; `conditions`: one `{text, set, kind, value, holds}` each, of a change also `p_value` and `difference`;
      `slices`: set -> figures of each slice at the threshold of the whole; `gaps`: set -> column -> figure ->
      difference between best and worst slice; `leaks`; `blessed`.
    """
    return {
        "sets": {name: results.figures() for name, results in candidate.items()},
        "baseline": None if baseline is None else {name: results.figures() for name, results in baseline.items()},
        "conditions": [_judged(condition, candidate, baseline is not None) for condition in conditions],
        "slices": {
            name: [s.to_dict() for s in results.table.slices if s.accuracy is not None]
            for name, results in candidate.items()
            if results.table.attributes
        },
        "gaps": {name: _gaps(results.table) for name, results in candidate.items() if results.table.attributes},
        "leaks": dict(leaks),
        "blessed": blessed,
    }


def _judged(condition: Condition, candidate: Mapping[str, SetEvaluation], has_baseline: bool) -> dict[str, Any]:
    """A condition with its figure."""
    results = candidate.get(condition.set)
    metrics: Mapping[str, float | None] = results.metrics if results else {}
    judged = {"text": str(condition), "set": condition.set, "kind": condition.kind}
    if condition.kind != "change":
        value = metrics.get(metric_name(condition))
        return {**judged, "value": value, "holds": condition.holds(value)}
    if not has_baseline:
        # A first model is compared with nothing, but a set that is missing blocks it, too.
        return {**judged, "value": None, "holds": results is not None, "p_value": None, "difference": None}
    value = metrics.get(CHANGE + _DIFFERENCE)
    difference = metrics.get("accuracy" + _DIFFERENCE)
    p_value = metrics.get(P_VALUE)
    return {**judged, "value": value, "holds": condition.holds(value), "p_value": p_value, "difference": difference}


def _gaps(table: PairTable) -> dict[str, dict[str, float | None]]:
    return {column: {f: table.gap(f, column) for f in SLICE_FIGURES} for column in table.attributes}
