"""The thresholds that a model's evaluation chose, read from its `verification.json`. Speaks cosines."""

import dataclasses
import json
from typing import Any

from arcface_common import filesystem
from arcface_common.arguments import is_real
from arcface_common.bounded_file import MAX_TABLE_BYTES, read_bounded
from arcface_common.errors import DataError, argument, is_number


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A cosine above which two faces count as one person, and what it rests on.

    Attributes:
      cosine: -1..1.
      set: the verification set that it was chosen on; None where a person gave it.
      far: the false accept rate that was wanted, above 0 and below 1; None where it is that of the highest accuracy.
      pairs: how many pairs it rests on: all of the set or, with `far`, those of different people.
      false_accepts: with `far`, how many of these pairs it accepts.
    """

    cosine: float
    set: str | None = None
    far: float | None = None
    pairs: int | None = None
    false_accepts: int | None = None

    def __str__(self) -> str:
        if self.set is None:
            return f"{self.cosine:.4f}"
        if self.far is None:
            return f"{self.cosine:.4f} (highest accuracy on the {self.pairs:,} pairs of {self.set})"
        return (
            f"{self.cosine:.4f} (FAR {self.far:g} on {self.set}: "
            f"{self.false_accepts:,} of {self.pairs:,} pairs of different people)"
        )


def given_threshold(cosine: float) -> Threshold:
    """A threshold that a person gives.

    Raises:
      DataError: no number of -1..1.
    """
    if not is_real(cosine) or not -1 <= cosine <= 1:
        raise DataError(f"expected a cosine of -1..1 as threshold. Received: {cosine!r}")
    return Threshold(float(cosine))


def read_threshold(path: str, set_name: str | None = None, far: float | None = None) -> Threshold:
    """Reads a threshold that the evaluation chose.

    Args:
      path: the model's `verification.json`.
      set_name: of the verification set; the first one that has such a threshold if None.
      far: one of the rates that the evaluation kept, 1e-2 to 1e-6; None for the threshold of the highest accuracy.

    Raises:
      DataError: no evaluation or a broken one, no such set or rate, or pairs that bear no such threshold.
    """
    if not filesystem.exists(path):
        raise DataError(
            f"{path}: expected the evaluation of a pushed model; an import has none: give {argument('threshold')}, "
            "which `arcface-tfx evaluate sets` finds. Received: no file"
        )
    return parse_threshold(read_bounded(path, MAX_TABLE_BYTES, "MAX_TABLE_BYTES"), path, set_name, far)


def parse_threshold(
    content: str | bytes, path: str, set_name: str | None = None, far: float | None = None
) -> Threshold:
    """`read_threshold` of what a file holds.

    Args:
      content: of the file.
      path: for errors.
      set_name: see there.
      far: see there.
    """
    try:
        evaluation = json.loads(content)
        found = _of_accuracy(evaluation) if far is None else _of_far(path, evaluation, far)
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: expected the figures of an evaluation. Received: {error!r}") from error
    name = next(iter(found), None) if set_name is None else set_name
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise DataError(f"{path}: expected a set that has a threshold ({known}). Received: {name!r}")
    return _checked(path, name, far, **found[name])


def for_clients(verification: str) -> dict[str, Any]:
    """What a client needs of a model's evaluation.

    Args:
      verification: the content of `verification.json`.

    Returns:
      By set, `accuracy`, `threshold`, the cosine of the highest accuracy, and `far`: by false accept rate the cosine
      above which so many pairs of different people are accepted. What the pairs don't bear is left out.

    Raises:
      ValueError: no JSON.
      KeyError: JSON without sets.
    """
    evaluation = json.loads(verification)
    found = {}
    for name, figures in evaluation["sets"].items():
        rates = (evaluation.get("thresholds") or {}).get(name, {})
        values = {
            "accuracy": figures.get("accuracy"),
            "threshold": _cosine(figures.get("threshold")),
            "far": {rate: _cosine(of["threshold"]) for rate, of in rates.items() if not of.get("reason")} or None,
        }
        found[name] = {key: value for key, value in values.items() if value is not None}
    return found


def _cosine(squared_distance: float | None) -> float | None:
    """That of two unit vectors; None stays None."""
    return None if squared_distance is None else 1.0 - squared_distance / 2.0


def _of_accuracy(evaluation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Set -> threshold (squared distance) and pairs, of the sets that have one."""
    return {
        name: {"threshold": figures["threshold"], "pairs": figures["pairs"]}
        for name, figures in evaluation["sets"].items()
        if figures["threshold"] is not None
    }


def _of_far(path: str, evaluation: dict[str, Any], far: float) -> dict[str, dict[str, Any]]:
    """Set -> threshold (squared distance), pairs and false accepts, of the sets whose pairs bear the rate.

    Raises:
      DataError: a rate that was not kept, or that no set's pairs bear.
    """
    of_sets = evaluation.get("thresholds")
    if of_sets is None:
        raise DataError(
            f"{path}: expected thresholds by false accept rate; an older evaluation keeps none: push the model again. "
            "Received: none"
        )
    known = sorted({float(rate) for rates in of_sets.values() for rate in rates}, reverse=True)
    if far not in known:
        raise DataError(f"expected a false accept rate of {', '.join(f'{k:g}' for k in known)}. Received: {far!r}")
    found, reasons = {}, []
    for name, rates in of_sets.items():
        entry = rates[f"{far:g}"]
        if entry.get("reason"):
            reasons.append(f"{name} {entry['reason']}")
        else:
            values = {"threshold": entry["threshold"], "pairs": entry["impostors"]}
            found[name] = {**values, "false_accepts": entry["false_accepts"]}
    if not found:
        raise DataError(
            f"{path}: expected pairs that bear a false accept rate of {far:g}. Received: {'; '.join(reasons)}"
        )
    return found


def _checked(
    path: str, name: str, far: float | None, threshold: Any, pairs: Any, false_accepts: Any = None
) -> Threshold:
    """A threshold, once its entries in the file are what they are said to be.

    Raises:
      DataError: they are not.
    """
    if not is_number(threshold) or not 0 <= threshold <= 4:
        raise DataError(f"{path}: set {name!r}: expected a threshold of 0..4. Received: {threshold!r}")
    for entry, count in (("pairs", pairs), ("false_accepts", false_accepts)):
        if (count is not None or entry == "pairs") and (not is_number(count) or not 0 <= count or count % 1):
            raise DataError(f"{path}: set {name!r}: expected a whole number as {entry}. Received: {count!r}")
    return Threshold(
        1.0 - threshold / 2.0, name, far, int(pairs), None if false_accepts is None else int(false_accepts)
    )
