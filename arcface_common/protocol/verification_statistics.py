"""Error rates of a set of face pairs, and how far chance alone could move them.

Everything here takes plain arrays: distances, the truth about each pair, or whether each pair was judged correctly. The
protocol that cuts folds and chooses thresholds is `arcface_common.protocol.insightface`.

Sources: A. Martin et al., "The DET curve in assessment of detection task performance", 1997 (EER); ISO/IEC 19795-1
(TAR at FAR); B. Efron, "Bootstrap methods: another look at the jackknife", 1979; Q. McNemar, "Note on the sampling
error of the difference between correlated proportions or percentages", 1947.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.stats

from arcface_common.features import FAR_TARGETS

_NAMED_INDICES = 10
# Distances of unit vectors end at 4, and with rounding a hair above (4.0000005 in float32).
_MAX_DISTANCE = 4.01


class ProtocolError(ValueError):
    """Input that the verification protocol has no answer for. Says what was expected and what was received."""


@dataclasses.dataclass(frozen=True, eq=False)
class RocCurve:
    """Receiver operating characteristic, one point per distinct distance after the point that accepts nothing.

    Attributes:
      far: false accept rate, float64 [K], 0..1, rising; all 0 where the set has no pair of different people.
      tar: true accept rate, float64 [K], 0..1, rising; all 0 where the set has no pair of the same person.
      thresholds: float64 [K]; `distance < thresholds[k]` accepts exactly the pairs counted in `far[k]` and `tar[k]`.
    """

    far: np.ndarray
    tar: np.ndarray
    thresholds: np.ndarray

    def auc(self) -> float | None:
        """Area under the curve, 0..1 (0.5 is chance), ties counted half; None where one of the two kinds is missing."""
        if self.far[-1] == 0 or self.tar[-1] == 0:
            return None
        return float(np.trapezoid(self.tar, self.far))

    def eer(self) -> float | None:
        """Equal error rate, 0..1: where FAR = 1 - TAR, on the straight line between the two points around it.

        None where one of the two kinds of pairs is missing.
        """
        if self.far[-1] == 0 or self.tar[-1] == 0:
            return None
        excess = self.far - (1.0 - self.tar)  # from -1, where nothing is accepted, to 1, where everything is
        after = int(np.argmax(excess >= 0))
        share = excess[after - 1] / (excess[after - 1] - excess[after])
        return float(self.far[after - 1] + share * (self.far[after] - self.far[after - 1]))


@dataclasses.dataclass(frozen=True)
class McNemarResult:
    """Outcome of McNemar's exact test.

    Attributes:
      only_first: pairs that the first model alone judges correctly.
      only_second: pairs that the second model alone judges correctly.
      p_value: 0..1, two-sided: how often two equally good models would disagree at least this unevenly.
    """

    only_first: int
    only_second: int
    p_value: float


def describe_indices(bad: np.ndarray) -> str:
    """Names the first true places of a bool [N] array, and how many more there are."""
    places = np.flatnonzero(bad)
    named = ", ".join(str(place) for place in places[:_NAMED_INDICES])
    more = places.size - _NAMED_INDICES
    return f"{named} and {more} more" if more > 0 else named


def allowed(target: float, trials: int) -> int:
    """How many false ones of so many trials a target rate admits."""
    # A hair above the product, which may fall short of a whole number: 0.29 * 100 is 28.999999999999996.
    return math.floor(target * trials * (1 + 1e-12))


def checked_distances(distances: npt.ArrayLike, *, nan: bool = False) -> np.ndarray:
    """Squared distances as float64 [N]; NaN stays where `nan` says so.

    Raises:
      ProtocolError: not one-dimensional, not real, not finite, or outside 0..4, where all distances between unit
        vectors lie.
    """
    array = np.asarray(distances)
    if array.ndim != 1 or array.dtype.kind in "bcOSU":
        raise ProtocolError(f"Expected real distances of shape [N]. Received: {array.dtype} of shape {array.shape}")
    array = array.astype(np.float64)
    if (bad := np.isinf(array) if nan else ~np.isfinite(array)).any():
        raise ProtocolError(f"Expected finite distances. Received: NaN or infinity at pairs {describe_indices(bad)}")
    if (bad := (array < 0) | (array > _MAX_DISTANCE)).any():
        raise ProtocolError(
            "Expected squared distances between unit vectors, which lie in 0..4. "
            f"Received: {array[bad][0]!r} at pairs {describe_indices(bad)}"
        )
    return array


def checked_flags(flags: npt.ArrayLike, pairs: int | None, name: str) -> np.ndarray:
    """One yes or no a pair (bool, or numbers 0 and 1) as bool [N].

    Raises:
      ProtocolError: not of shape [`pairs`] (any length where that is None), or a value other than 0 and 1.
    """
    array = np.asarray(flags)
    if array.ndim != 1 or pairs not in (None, array.size):
        expected = "N" if pairs is None else pairs
        raise ProtocolError(f"Expected {name} of shape [{expected}]. Received: shape {array.shape}")
    if array.dtype.kind not in "biuf" or ((array != 0) & (array != 1)).any():
        raise ProtocolError(f"Expected {name} of bool or of 0 and 1. Received: {array.dtype} {array[:10].tolist()}")
    return array.astype(bool)


def checked_norms(norms: npt.ArrayLike, pairs: int) -> np.ndarray:
    """Norms as float64 [N].

    Raises:
      ProtocolError: not of shape [`pairs`].
    """
    array = np.asarray(norms, dtype=np.float64)
    if array.shape != (pairs,):
        raise ProtocolError(f"Expected norms of shape [{pairs}]. Received: shape {array.shape}")
    return array


def roc_curve(distances: npt.ArrayLike, is_same: npt.ArrayLike) -> RocCurve:
    """ROC over every threshold that tells any two pairs apart.

    Args:
      distances: squared distances, float [N], 0..4; small means same.
      is_same: bool [N] (or 0 and 1), N >= 1.

    Returns:
      The curve, from (0, 0) to (1, 1) where both kinds of pairs occur.

    Raises:
      ProtocolError: no pairs, lengths that differ, or distances that are not finite.
    """
    distances = checked_distances(distances)
    same = checked_flags(is_same, distances.size, "is_same")
    if not distances.size:
        raise ProtocolError("Expected at least 1 pair. Received: 0")
    order = np.argsort(distances)
    ordered = distances[order]
    # Pairs of equal distance are accepted together, so only the last of each run is a point.
    last = np.append(np.flatnonzero(np.diff(ordered)), ordered.size - 1)
    true_accepts = np.concatenate(([0], np.cumsum(same[order])[last]))
    false_accepts = np.concatenate(([0], last + 1)) - true_accepts
    return RocCurve(
        far=false_accepts / max(false_accepts[-1], 1),
        tar=true_accepts / max(true_accepts[-1], 1),
        thresholds=np.concatenate(([0.0], np.nextafter(ordered[last], np.inf))),
    )


def tar_at_far(
    distances: npt.ArrayLike, is_same: npt.ArrayLike, targets: Sequence[float] = FAR_TARGETS
) -> dict[float, float | None]:
    """Largest true accept rate over all thresholds whose false accept rate on the same pairs is at most a target.

    Unlike the protocol's TAR, threshold and rates come from the same pairs, without folds or interpolation.

    Args:
      distances: squared distances, float [N], 0..4; small means same.
      is_same: bool [N] (or 0 and 1).
      targets: false accept rates, 0..1.

    Returns:
      TAR (0..1) by target. None where the set cannot tell: fewer than 1 / target pairs of different people (3,000 of
      them reach 1e-3 and not 1e-4), or no pair of the same person.

    Raises:
      ProtocolError: lengths that differ, distances that are not finite, or a target outside 0..1.
    """
    distances = checked_distances(distances)
    same = checked_flags(is_same, distances.size, "is_same")
    if bad := [target for target in targets if not 0 < target <= 1]:
        raise ProtocolError(f"Expected false accept rates above 0 and at most 1. Received: {bad}")
    genuine, impostor = np.sort(distances[same]), np.sort(distances[~same])
    rates: dict[float, float | None] = {}
    for target in targets:
        accepts = allowed(target, impostor.size)
        if accepts < 1 or not genuine.size:
            rates[target] = None
        elif accepts >= impostor.size:
            rates[target] = 1.0
        else:
            rates[target] = int(np.searchsorted(genuine, impostor[accepts])) / genuine.size
    return rates


def bootstrap_accuracy(
    correct: npt.ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the share of pairs that were judged correctly.

    N pairs drawn with replacement from N of which k are correct hold a Binomial(N, k / N) number of correct ones. So
    the sums are drawn themselves: 10,000 numbers in 1 ms, in place of 60,000,000 indices at 6,000 pairs. Thresholds
    stay those of the given judgements, and pairs count as independent, though people occur in several. Where every
    pair was right the interval is (1, 1): a bootstrap cannot see errors that never happened.

    Args:
      correct: bool [N] (or 0 and 1), N >= 1.
      confidence: share of the resamples that the interval holds, above 0 and below 1.
      resamples: number of resamples, at least 1.
      seed: of the generator; equal seeds give equal intervals.

    Returns:
      Lower and upper end, 0..1.

    Raises:
      ProtocolError: no pairs, or a value out of its range.
    """
    judged = checked_flags(correct, None, "correct")
    if not judged.size or not 0 < confidence < 1 or resamples < 1:
        raise ProtocolError(
            "Expected at least 1 pair, 0 < confidence < 1 and at least 1 resample. "
            f"Received: pairs={judged.size}, confidence={confidence}, resamples={resamples}"
        )
    sums = np.random.default_rng(seed).binomial(judged.size, judged.mean(), resamples)
    low, high = np.quantile(sums, [(1 - confidence) / 2, (1 + confidence) / 2]) / judged.size
    return float(low), float(high)


def mcnemar(first_correct: npt.ArrayLike, second_correct: npt.ArrayLike) -> McNemarResult:
    """McNemar's test: is one of two models that judged the same pairs better than the other?

    Only the pairs on which exactly one of them is right say anything; were the models equally good, each of these
    would be a fair coin.

    Args:
      first_correct: bool [N] (or 0 and 1), whether the first model judged each pair correctly.
      second_correct: the same of the second model, in the same order.

    Returns:
      Both counts and the two-sided p-value (1 where the models never differ).

    Raises:
      ProtocolError: lengths that differ, or values other than 0 and 1.
    """
    first = checked_flags(first_correct, None, "first_correct")
    second = checked_flags(second_correct, first.size, "second_correct")
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    differing = only_first + only_second
    p_value = float(scipy.stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    return McNemarResult(only_first, only_second, p_value)
