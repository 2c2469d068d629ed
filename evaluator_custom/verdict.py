"""Reads an evaluation back from TFMA, and says which conditions hold: the content of `verification.json`."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

from arcface_common import features
from evaluator_custom.protocol.best_so_far import Record
from evaluator_custom.protocol.conditions import FIGURES, SIGNIFICANCE, SLICE_FIGURES, Condition, Cut
from evaluator_custom.protocol.far_thresholds import thresholds_by_far
from evaluator_custom.protocol.leaks import leaked_share
from evaluator_custom.protocol.pair_table import Judgements, PairTable, change
from evaluator_custom.tfma_bridge.metrics import CHANGE, P_VALUE, PAIR_TABLE, metric_name

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

    def undefined(self) -> dict[str, str]:
        """Figure -> why it isn't defined."""
        reasons = self.table.result.undefined
        return {name: reasons[name] for name in FIGURES if name in reasons}


def read_evaluation(
    evaluation: str, model_name: str, attributes: Mapping[str, Mapping[str, Sequence[str]]], folds: Cut
) -> dict[str, SetEvaluation]:
    """Reads the results on each set by `tfma.load_eval_result`.

    Args:
      evaluation: folder of TFMA's results.
      model_name: TFMA's name of the model; "" if there is one alone.
      attributes: set -> column -> value of each pair, in the order of the result.
      folds: how they were cut.

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
        # JSON has NaN as text.
        array = np.array(table["float64Values"], np.float64).reshape([int(size) for size in table["shape"]])
        numbers = {metric: _number(value) for metric, value in values.items() if "arrayValue" not in value}
        found[name] = SetEvaluation(numbers, PairTable.from_array(array, attributes[name], folds))
    return found


def _number(value: dict[str, Any]) -> float | None:
    number = float(value.get("doubleValue", math.nan))
    return None if math.isnan(number) else number


def make_verdict(
    candidate: Mapping[str, SetEvaluation],
    baseline: Mapping[str, SetEvaluation] | None,
    best: Mapping[str, Record],
    conditions: Sequence[Condition],
    leaks: Mapping[str, dict[str, Any]],
    folds: Cut,
) -> dict[str, Any]:
    """What `verification.json` says, but for whether the model is blessed, which hangs on TFX's verdict, too.

    Args:
      candidate: its results by set, in the order in which they are reported.
      baseline: those of the latest blessed model; None where there is none.
      best: set -> the best blessed so far, the latest among them.
      conditions: what the candidate was held against.
      leaks: set -> what it shares with the training set, as `leaks.Leak` has it.
      folds: how they were cut.

    Returns:
      `sets`: set -> figure -> value (None where not defined); `undefined`: set -> figure -> why not; `warnings`: set ->
      sentences; `folds`; `baseline`: figures of the latest blessed model, or None; `best`: set -> accuracy and model;
      `conditions`: one `{text, set, kind, value, holds, reason}` each, `reason` saying why there is no value; of a
      change also `p_value`, `difference`, and `best`, the same against the best so far if that isn't the latest;
      `slices`: set -> figures of each slice at the threshold of the whole; `gaps`: set -> column -> figure ->
      difference between best and worst slice; `leaks`; `thresholds`: set -> rate -> see `thresholds_by_far`.
    """
    return {
        "sets": {name: results.figures() for name, results in candidate.items()},
        "undefined": {name: results.undefined() for name, results in candidate.items()},
        "warnings": {name: list(results.table.result.warnings) for name, results in candidate.items()},
        "folds": folds,
        "baseline": None if baseline is None else {name: results.figures() for name, results in baseline.items()},
        "best": {name: {"accuracy": record.accuracy, "model": record.model} for name, record in best.items()},
        "conditions": [_judged(condition, candidate, baseline, best, leaks) for condition in conditions],
        "slices": {
            name: [s.to_dict() for s in results.table.slices if s.accuracy is not None]
            for name, results in candidate.items()
            if results.table.attributes
        },
        "gaps": {name: _gaps(results.table) for name, results in candidate.items() if results.table.attributes},
        "leaks": dict(leaks),
        "thresholds": {name: thresholds_by_far(of.table.distances, of.table.is_same) for name, of in candidate.items()},
    }


def _judged(
    condition: Condition,
    candidate: Mapping[str, SetEvaluation],
    baseline: Mapping[str, SetEvaluation] | None,
    best: Mapping[str, Record],
    leaks: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """A condition with its figure."""
    results = candidate.get(condition.set)
    judged = {"text": str(condition), "set": condition.set, "kind": condition.kind, "value": None, "reason": None}
    comparison = {"p_value": None, "difference": None, "best": None} if condition.kind == "change" else {}
    if results is None:
        return {**judged, **comparison, "holds": False, "reason": f"no data of the set {condition.set}"}
    if condition.kind == "change":
        undefined = results.table.result.undefined.get("accuracy")
        if baseline is None:
            # A first model is compared with nothing, but a set that can't judge it blocks it, too.
            return {**judged, **comparison, "holds": undefined is None, "reason": undefined}
        return {**judged, **_change(condition, results, baseline.get(condition.set), best.get(condition.set))}
    if condition.kind == "leak":
        leak = leaks.get(condition.set)
        value = None if leak is None else leaked_share(leak)
        reason = "it isn't known what the training set holds" if leak is None else None
        return {**judged, "value": value, "holds": condition.holds(value), "reason": reason}
    value = results.metrics.get(metric_name(condition))
    reason = None
    if value is None and condition.kind == "gap":
        reason = results.table.no_gap(condition.figure, condition.column)
    elif value is None:
        reason = results.undefined().get(condition.figure)
    return {**judged, "value": value, "holds": condition.holds(value), "reason": reason}


def _change(
    condition: Condition, results: SetEvaluation, latest: SetEvaluation | None, best: Record | None
) -> dict[str, Any]:
    """What a condition on a change says of the latest blessed model, and of the best so far if it judges otherwise."""
    undefined = results.table.result.undefined.get("accuracy")
    value = results.metrics.get(CHANGE + _DIFFERENCE)
    judged: dict[str, Any] = {
        "value": value,
        "holds": condition.holds(value),
        "p_value": results.metrics.get(P_VALUE),
        "difference": results.metrics.get("accuracy" + _DIFFERENCE),
        "best": None,
        "reason": None if value is not None else undefined or "the latest blessed model has no accuracy on this set",
    }
    known = Judgements.of(latest.table) if latest else None
    if best is None or (known and np.array_equal(known.correct, best.judgements().correct)):
        return judged
    if found := change(Judgements.of(results.table), best.judgements(), SIGNIFICANCE):
        holds = condition.holds(found.significant)
        judged["best"] = {
            "model": best.model,
            "accuracy": best.accuracy,
            "value": found.significant,
            "difference": found.difference,
            "p_value": found.p_value,
            "holds": holds,
        }
        judged["holds"] = judged["holds"] and holds
    return judged


def _gaps(table: PairTable) -> dict[str, dict[str, float | None]]:
    return {column: {f: table.gap(f, column) for f in SLICE_FIGURES} for column in table.attributes}
