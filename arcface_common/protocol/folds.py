"""What InsightFace's verification script computes, fold by fold, to the digit and without its loops over thresholds.

It chooses a threshold on nine folds and judges the tenth by it. Whether a set can bear the figures is not asked here
(see `arcface_common.protocol.support`): a rate over no pairs is 0, as in the script.

**Repeated FAR values.** The script inverts FAR(threshold) by SciPy's `interp1d(kind="slinear")`. 4,000 thresholds
nearly always repeat a FAR. SciPy 1.9.3 and later refuse that ("Expect x to not have duplicates"), so the script stops.
SciPy 1.6.3 to 1.8.1 interpolate between the last threshold at or below the target and the first above it, as every
SciPy does where no FAR repeats: that is what is computed here, to the digit. (Up to 1.5.4 an unstable sort shuffles the
thresholds of equal FAR, which moved one fold's threshold on LFW by 0.1.) One exception: where the largest FAR equals
the target and repeats, SciPy gives 0, an accident of a segment of length 0; we give the last threshold, as it does
where that FAR does not repeat.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from arcface_common.protocol.conditions import CUTS, Cut
from arcface_common.protocol.verification_statistics import ProtocolError

# Entries are the products i * 0.01 of the source, not the nearest decimals: the one for 0.57 is 0.5700000000000001.
ACCURACY_THRESHOLDS = np.arange(0, 4, 0.01)
FAR_THRESHOLDS = np.arange(0, 4, 0.001)


@dataclasses.dataclass(frozen=True)
class RatesAtFar:
    """The published script's TAR at a FAR, fold by fold.

    Attributes:
      target: the false accept rate aimed at.
      thresholds: that meet it on the other folds, 0..4.
      tar: true accept rate of each fold there, 0 where it holds no pair of one person.
      far: false accept rate of each fold there, 0 where it holds no pair of different people.
      nearest: false accept rate, on the other folds, of the first threshold whose rate is above the target, or of the
        last of all: where distances don't tie, that is one pair more than the target.
    """

    target: float
    thresholds: list[float] = dataclasses.field(default_factory=list)
    tar: list[float] = dataclasses.field(default_factory=list)
    far: list[float] = dataclasses.field(default_factory=list)
    nearest: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class FoldFigures:
    """What InsightFace's script computes, fold by fold, whatever the pairs can bear.

    Attributes:
      accuracies: of each fold, at its threshold.
      thresholds: best on the other folds, 0..3.99.
      correct: bool [N], whether each pair was judged correctly.
      impostors: number of pairs of different people in each training part.
      rates: one entry for each target.
    """

    accuracies: list[float] = dataclasses.field(default_factory=list)
    thresholds: list[float] = dataclasses.field(default_factory=list)
    correct: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))
    impostors: list[int] = dataclasses.field(default_factory=list)
    rates: tuple[RatesAtFar, ...] = ()


def best_threshold(distances: np.ndarray, is_same: np.ndarray) -> float:
    """The threshold of 0, 0.01 … 3.99 of highest accuracy, the smallest of equals.

    Args:
      distances: squared distances, float64 [N].
      is_same: bool [N].

    Returns:
      The threshold; 0 on an empty set.
    """
    return _best_threshold(np.sort(distances[is_same]), np.sort(distances[~is_same]))


def far_threshold(distances: np.ndarray, far_target: float) -> float:
    """The threshold at which pairs of different people are accepted at a given rate, between steps of 0.001.

    Args:
      distances: squared distances of pairs of different people, float64 [N].
      far_target: false accept rate, above 0 and at most 1.

    Returns:
      The threshold, interpolated linearly in FAR between the last step whose FAR is at most the target and the first
      whose FAR is above it; that last step itself if none is above; 0 (nothing is accepted) where FAR never reaches
      the target or there are no pairs.
    """
    return _threshold_at(_far_steps(np.sort(distances)), far_target)


def fold_figures(
    distances: np.ndarray,
    is_same: np.ndarray,
    fold_of: np.ndarray,
    targets: Sequence[float],
) -> FoldFigures:
    """What InsightFace's script computes, to the digit.

    Args:
      distances: squared distances, float64 [N].
      is_same: bool [N].
      fold_of: fold of each pair, int [N].
      targets: false accept rates, above 0 and at most 1.

    Returns:
      The figures; a rate over no pairs is 0, as in the source.
    """
    figures = FoldFigures(correct=np.zeros(distances.size, bool), rates=tuple(RatesAtFar(t) for t in targets))
    for fold in range(int(fold_of.max()) + 1):
        test = fold_of == fold
        impostors = np.sort(distances[~test & ~is_same])
        figures.thresholds.append(_best_threshold(np.sort(distances[~test & is_same]), impostors))
        figures.correct[test] = (distances[test] < figures.thresholds[-1]) == is_same[test]
        figures.accuracies.append(float(np.mean(figures.correct[test])))
        figures.impostors.append(impostors.size)
        steps = _far_steps(impostors)
        tested, tested_impostors = distances[test & is_same], distances[test & ~is_same]
        for rates in figures.rates:
            rates.thresholds.append(_threshold_at(steps, rates.target))
            rates.tar.append(_rate_below(tested, rates.thresholds[-1]))
            rates.far.append(_rate_below(tested_impostors, rates.thresholds[-1]))
            above = int(np.searchsorted(steps, rates.target, side="right"))
            rates.nearest.append(float(steps[min(above, steps.size - 1)]))
    figures.correct.flags.writeable = False
    return figures


def cut_folds(is_same: np.ndarray, folds: int, cut: Cut = "contiguous") -> np.ndarray:
    """Fold of each pair, int [N].

    Args:
      is_same: bool [N].
      folds: number of folds, 2..N.
      cut: see `evaluate`. Contiguous blocks are those of scikit-learn's KFold without shuffling.

    Raises:
      ProtocolError: fewer pairs than folds, or another cut.
    """
    if not 2 <= folds <= is_same.size:
        raise ProtocolError(
            f"Expected at least 2 folds and as many pairs. Received: folds={folds}, pairs={is_same.size}"
        )
    if cut not in CUTS:
        raise ProtocolError(f"Expected folds of {CUTS}. Received: {cut!r}")
    if cut == "contiguous":
        return _blocks(is_same.size, folds)
    fold_of = np.empty(is_same.size, np.int64)
    same = int(is_same.sum())
    fold_of[is_same] = _blocks(same, folds)
    # Of fewer than there are folds, those of one person fill the first and the others the last: none stays empty.
    fold_of[~is_same] = _blocks(is_same.size - same, folds) + max(0, folds - (is_same.size - same))
    return fold_of


def _blocks(pairs: int, folds: int) -> np.ndarray:
    """Contiguous blocks of equal size; the first `pairs % folds` hold one more."""
    sizes = np.full(folds, pairs // folds)
    sizes[: pairs % folds] += 1
    return np.repeat(np.arange(folds), sizes)


def _best_threshold(genuine: np.ndarray, impostors: np.ndarray) -> float:
    """See `best_threshold`; the distances of both kinds of pairs, ascending."""
    # Accuracy is (true accepts + different pairs - false accepts) / N, so the difference of accepts ranks thresholds.
    gain = _accepts(genuine, ACCURACY_THRESHOLDS) - _accepts(impostors, ACCURACY_THRESHOLDS)
    return float(ACCURACY_THRESHOLDS[np.argmax(gain)])


def _far_steps(impostors: np.ndarray) -> np.ndarray:
    """False accept rate at each of `FAR_THRESHOLDS`, of ascending distances; 0 where there are none."""
    return _accepts(impostors, FAR_THRESHOLDS) / max(impostors.size, 1)


def _threshold_at(rates: np.ndarray, target: float) -> float:
    """See `far_threshold`."""
    if rates[-1] < target:
        return 0.0
    above = int(np.searchsorted(rates, target, side="right"))
    if above == rates.size:
        return float(FAR_THRESHOLDS[-1])
    # Weights in the order of a B-spline of degree 1, which SciPy evaluates here: the shorter forms of the same line
    # differ in the last digit, and a pair that lies on the threshold would change sides.
    weight = 1.0 / (rates[above] - rates[above - 1])
    lower = FAR_THRESHOLDS[above - 1] * (weight * (rates[above] - target))
    return float(lower + FAR_THRESHOLDS[above] * (weight * (target - rates[above - 1])))


def _accepts(ordered: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Number of ascending distances strictly below each threshold, int64 [T]: side "left" leaves equal ones out."""
    return np.searchsorted(ordered, thresholds, side="left")


def _rate_below(distances: np.ndarray, threshold: float) -> float:
    """Share of the distances strictly below the threshold, 0 where there are none."""
    return int(np.count_nonzero(distances < threshold)) / max(distances.size, 1)
