"""Says which conditions hold: the content of `verification.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arcface_common.protocol.best_so_far import Record
from arcface_common.protocol.comparison import Comparison, compare
from arcface_common.protocol.conditions import FIGURES, SLICE_FIGURES, Condition, Cut
from arcface_common.protocol.far_thresholds import thresholds_by_far
from arcface_common.protocol.leaks import leaked_share
from arcface_common.protocol.scored_pairs import ScoredPairs


def make_verdict(
    candidate: Mapping[str, ScoredPairs],
    baseline: Mapping[str, ScoredPairs] | None,
    best: Mapping[str, Record],
    conditions: Sequence[Condition],
    leaks: Mapping[str, dict[str, Any]],
    folds: Cut,
    remarks: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """What `verification.json` says, but for whether the model is blessed, which hangs on TFX's verdict, too.

    Args:
      candidate: its results by set, in the order in which they are reported.
      baseline: those of the latest blessed model; None where there is none.
      best: set -> the best blessed so far, the latest among them.
      conditions: what the candidate was held against.
      leaks: set -> what it shares with the training set, as `leaks.Leak` has it.
      folds: how they were cut.
      remarks: set -> what its pairs' people mean for its figures, sentences.

    Returns:
      `sets`: set -> figure -> value (None where not defined); `undefined`: set -> figure -> why not; `warnings`: set ->
      sentences; `folds`; `baseline`: figures of the latest blessed model, or None; `best`: set -> accuracy and model;
      `conditions`: one `{text, set, kind, value, holds, reason}` each, `reason` saying why there is no value; of a
      change also `p_value`, `difference`, and `best`, the same against the best so far if that isn't the latest;
      `slices`: set -> figures of each slice at the threshold of the whole; `gaps`: set -> column -> figure ->
      difference between best and worst slice; `leaks`; `thresholds`: set -> rate -> see `thresholds_by_far`.
    """
    compared = {condition.set for condition in conditions if condition.kind == "change"}
    falls = {name: _unseen_falls(pairs, baseline, best) for name, pairs in candidate.items() if name not in compared}
    grouped = {name: pairs for name, pairs in candidate.items() if pairs.attributes}
    return {
        "sets": {name: _figures(pairs) for name, pairs in candidate.items()},
        "undefined": {name: _undefined(pairs) for name, pairs in candidate.items()},
        "warnings": {
            name: [*pairs.result.warnings, *falls.get(name, ()), *remarks.get(name, ())]
            for name, pairs in candidate.items()
        },
        "folds": folds,
        "baseline": None if baseline is None else {name: _figures(pairs) for name, pairs in baseline.items()},
        "best": {name: {"accuracy": record.accuracy, "model": record.model} for name, record in best.items()},
        "conditions": [_judged(condition, candidate, baseline, best, leaks) for condition in conditions],
        "slices": {
            name: [s.to_dict() for s in pairs.slices if s.accuracy is not None] for name, pairs in grouped.items()
        },
        "gaps": {
            name: {column: {f: pairs.gap(f, column) for f in SLICE_FIGURES} for column in pairs.attributes}
            for name, pairs in grouped.items()
        },
        "leaks": dict(leaks),
        "thresholds": {name: thresholds_by_far(pairs.distances, pairs.is_same) for name, pairs in candidate.items()},
    }


def _unseen_falls(
    pairs: ScoredPairs, baseline: Mapping[str, ScoredPairs] | None, best: Mapping[str, Record]
) -> list[str]:
    """What no condition looks at: a blessed model that is better on a set, beyond chance; the best of them alone."""
    latest = (baseline or {}).get(pairs.name)
    for what, other in (("the best blessed model", best.get(pairs.name)), ("the latest blessed model", latest)):
        found = compare(pairs, other)
        if found and found.significant < 0:
            return [
                f"its accuracy is {-found.difference:.4f} below that of {what} (McNemar: p {found.p_value}), and no "
                f'condition looks at that; "{pairs.name}.accuracy change >= 0" would'
            ]
    return []


def _figures(pairs: ScoredPairs) -> dict[str, float | None]:
    return {name: pairs.figure(name) for name in FIGURES}


def _undefined(pairs: ScoredPairs) -> dict[str, str]:
    """Figure -> why it isn't defined."""
    return {name: pairs.result.undefined[name] for name in FIGURES if name in pairs.result.undefined}


def _judged(
    condition: Condition,
    candidate: Mapping[str, ScoredPairs],
    baseline: Mapping[str, ScoredPairs] | None,
    best: Mapping[str, Record],
    leaks: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """A condition with its figure."""
    pairs = candidate.get(condition.set)
    judged = {"text": str(condition), "set": condition.set, "kind": condition.kind, "value": None, "reason": None}
    comparison = {"p_value": None, "difference": None, "best": None} if condition.kind == "change" else {}
    if pairs is None:
        return {**judged, **comparison, "holds": False, "reason": f"no data of the set {condition.set}"}
    if condition.kind == "change":
        if baseline is None:
            # A first model is compared with nothing, but a set that can't judge it blocks it, too.
            undefined = pairs.result.undefined.get("accuracy")
            return {**judged, **comparison, "holds": undefined is None, "reason": undefined}
        return {**judged, **_change(condition, pairs, baseline.get(condition.set), best.get(condition.set))}
    if condition.kind == "leak":
        leak = leaks.get(condition.set)
        value = None if leak is None else leaked_share(leak)
        reason: str | None = "it isn't known what the training set holds"
    elif condition.kind == "gap":
        value = pairs.gap(condition.figure, condition.column)
        reason = pairs.no_gap(condition.figure, condition.column)
    else:
        value = pairs.figure(condition.figure)
        reason = pairs.result.undefined.get(condition.figure)
    return {**judged, "value": value, "holds": condition.holds(value), "reason": reason if value is None else None}


def _change(
    condition: Condition, pairs: ScoredPairs, latest: ScoredPairs | None, best: Record | None
) -> dict[str, Any]:
    """What a condition on a change says of the latest blessed model, and of the best so far if it judges otherwise."""
    found = compare(pairs, latest)
    undefined = pairs.result.undefined.get("accuracy") or "the latest blessed model has no accuracy on this set"
    judged = {**_compared(condition, found), "best": None, "reason": None if found else undefined}
    if best is None or (latest and np.array_equal(latest.correct, best.correct)):
        return judged
    if with_best := compare(pairs, best):
        judged["best"] = {"model": best.model, "accuracy": best.accuracy, **_compared(condition, with_best)}
        judged["holds"] = judged["holds"] and judged["best"]["holds"]
    return judged


def _compared(condition: Condition, found: Comparison | None) -> dict[str, Any]:
    """What a comparison says of a condition."""
    value = found.significant if found else None
    return {
        "value": value,
        "difference": found.difference if found else None,
        "p_value": found.mcnemar.p_value if found else None,
        "holds": condition.holds(value),
    }
