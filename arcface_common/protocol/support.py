"""Which figures a set of pairs can bear. Whatever else shows a figure reads the answer from here.

A rate that rests on too few pairs, on none, or on a threshold that ties put out of reach looks like any other number.
So such a figure is None, and a sentence says why.
"""

import collections
import math
from collections.abc import Mapping, Sequence

import numpy as np

from arcface_common.protocol.conditions import Cut
from arcface_common.protocol.folds import FoldFigures, RatesAtFar
from arcface_common.protocol.verification_statistics import allowed, describe_indices

MIN_PAIRS = 10  # as many as the protocol has folds; a rate over fewer moves by more than 0.1 with each of them
SAME, DIFFERENT = "pairs of one person", "pairs of different people"

ACCURACY = ("accuracy", "accuracy_std", "accuracy_ci", "threshold", "threshold_std", "best_threshold")
TAR = ("tar", "tar_std")
FAR = ("far", "tar_threshold")
TAR_1E2 = ("tar_1e2",)
CURVE = ("auc", "eer")
_ONE_EMBEDDING = 1e-9  # the largest distance of vectors that are one but for rounding: 1e-14 in float32
ALL = (*ACCURACY, *TAR, *FAR, *TAR_1E2, *CURVE)


def needs(target: float, trials: int, what: str = DIFFERENT, where: str = "") -> str | None:
    """Why so many trials can't tell a rate, e.g. "needs 1,000 pairs of different people; there are 270".

    Args:
      target: a false accept rate, or another rate of errors, above 0 and at most 1.
      trials: in which such an error could have happened.
      what: these trials, in the plural.
      where: they are, in words that begin with a space.

    Returns:
      The reason; None where they can: at least 1 / target.
    """
    if allowed(target, trials) >= 1:
        return None
    return f"needs {math.ceil(1 / target):,} {what}{where}; there are {trials:,}"


def whole_set(distances: np.ndarray, is_same: np.ndarray) -> str | None:
    """Why a set has no figures at all; None where it may have some.

    Args:
      distances: squared distances, float [N]; NaN where an embedding has no direction.
      is_same: bool [N].
    """
    if (lost := np.isnan(distances)).any():
        return f"embeddings that are not finite, or of length 0, in pairs {describe_indices(lost)}"
    if distances.size < MIN_PAIRS:
        return f"too few for the protocol: needs {MIN_PAIRS} pairs; there are {distances.size}"
    for kind, missing in ((is_same, SAME), (~is_same, DIFFERENT)):
        if not kind.any():
            return f"the set has no {missing}"
    return None


def undefined_figures(
    figures: FoldFigures, distances: np.ndarray, is_same: np.ndarray, fold_of: np.ndarray
) -> dict[str, str]:
    """Which of the protocol's figures a set cannot bear, and why.

    Args:
      figures: what the published script makes of it; their rates are at the target and at 1e-2.
      distances: squared distances, float [N].
      is_same: bool [N], of both kinds.
      fold_of: fold of each pair, int [N].

    Returns:
      Figure -> reason, of `ALL`.
    """
    found: dict[str, str] = {}
    if reason := _no_choice(fold_of, is_same):
        found |= dict.fromkeys(ACCURACY, reason)
    folds = len(figures.accuracies)
    without_same = _lacking(folds_without(fold_of, is_same, folds), SAME)
    without_different = _lacking(folds_without(fold_of, ~is_same, folds), DIFFERENT)
    collapsed = "both images of every pair have one embedding" if distances.max() < _ONE_EMBEDDING else ""
    for rates, (of_same, of_different) in zip(figures.rates, ((TAR, FAR), (TAR_1E2, ())), strict=True):
        reason = _no_threshold(rates, figures.impostors, collapsed)
        for names, missing in ((of_same, without_same), (of_different, without_different)):
            if reason or missing:
                found |= dict.fromkeys(names, reason or missing)
    return found


def fold_warnings(
    figures: FoldFigures, is_same: np.ndarray, fold_of: np.ndarray, cut: Cut, tar: float, far: float
) -> tuple[str, ...]:
    """What to say of folds that hold one kind of pairs alone, as those of a set that is sorted by kind.

    Args:
      figures: what the published script makes of the set.
      is_same: bool [N].
      fold_of: fold of each pair, int [N].
      cut: how the folds were cut.
      tar: what the published script gives.
      far: the same.
    """
    folds = len(figures.accuracies)
    lacking = [
        text
        for kind, what in ((is_same, SAME), (~is_same, DIFFERENT))
        if (text := _lacking(folds_without(fold_of, kind, folds), what))
    ]
    if not lacking:
        return ()
    warning = f"{' and '.join(lacking)}. InsightFace's script counts their rates as 0: TAR {tar:.4f}, FAR {far:.4f}."
    if cut == "contiguous":
        warning += (
            " Stratified folds hold each kind evenly: evaluation.folds=stratified in a run, --folds stratified in "
            "evaluate."
        )
    return (warning,)


def _no_choice(fold_of: np.ndarray, is_same: np.ndarray) -> str:
    """Why no threshold of highest accuracy can be chosen on a training part; "" where one can on each."""
    for kind, missing in ((is_same, SAME), (~is_same, DIFFERENT)):
        if np.unique(fold_of[kind]).size == 1:
            return f"all {missing} are in fold {fold_of[kind][0] + 1}: no threshold can be chosen without that fold"
    return ""


def _no_threshold(rates: RatesAtFar, impostors: Sequence[int], collapsed: str) -> str:
    """Why no threshold meets a false accept rate on a training part; "" where one does on each."""
    if reason := needs(rates.target, min(impostors), where=" in each training part"):
        return reason
    if min(rates.nearest) < rates.target:
        return f"no threshold below 4 accepts {rates.target:g} of the {DIFFERENT}"
    # Twice the target and two pairs: at the fewest impostors (1 / target) four times what was asked for. Real networks
    # come within one pair and 6 % of the target (512 values, a spread of 0.06, steps of 0.001).
    if any(rate > 2 * rates.target + 2 / pairs for rate, pairs in zip(rates.nearest, impostors, strict=True)):
        ties = f"of {DIFFERENT}, thresholds accept less than {rates.target:g} or at once {max(rates.nearest):.3g}"
        return collapsed or f"distances tie: {ties}"
    return ""


def _lacking(folds: Sequence[int], what: str) -> str:
    """Which folds lack a kind of pairs, in words; "" where none does."""
    return f"no {what} in fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}" if folds else ""


def folds_without(fold_of: np.ndarray, of_kind: np.ndarray, folds: int) -> list[int]:
    """The folds, from 1, that hold no pair of a kind.

    Args:
      fold_of: fold of each pair, int [N].
      of_kind: bool [N].
      folds: how many there are.
    """
    return (np.flatnonzero(np.bincount(fold_of[of_kind], minlength=folds) == 0) + 1).tolist()


def reason_lines(undefined: Mapping[str, Mapping[str, str]], shown: Mapping[str, str]) -> list[str]:
    """One line a reason, for those who meet a dash, e.g. "TAR@FAR=1e-3 of lfw: needs 1,000 pairs …".

    Args:
      undefined: set -> figure -> reason.
      shown: figure -> what people see it called; others are left out.
    """
    sets_of: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for name, reasons in undefined.items():
        labels_of: dict[str, list[str]] = collections.defaultdict(list)
        for figure, label in shown.items():
            if figure in reasons:
                labels_of[reasons[figure]].append(label)
        for reason, labels in labels_of.items():
            sets_of[", ".join(labels), reason].append(name)
    return [f"{labels} of {', '.join(sets)}: {reason}" for (labels, reason), sets in sets_of.items()]
