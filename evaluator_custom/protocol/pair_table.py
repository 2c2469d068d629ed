"""What one model makes of the pairs of a set or slice, and of two models on the same pairs: numpy only."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from evaluator_custom.protocol import insightface, slices, support
from evaluator_custom.protocol.conditions import Cut
from evaluator_custom.protocol.verification_statistics import mcnemar


@dataclasses.dataclass(frozen=True, eq=False)
class PairTable:
    """N pairs in the published order, which is that of the folds.

    Attributes:
      distances: squared distances, float64 [N], 0..4.
      is_same: bool [N].
      norms: mean raw length of each pair's embeddings, float64 [N].
      attributes: column -> value of each pair, "" where it isn't known.
      folds: how they are cut, see `insightface.evaluate`.
    """

    distances: np.ndarray
    is_same: np.ndarray
    norms: np.ndarray
    attributes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    folds: Cut = "contiguous"

    @functools.cached_property
    def result(self) -> insightface.VerificationResult:
        """The protocol's figures."""
        return insightface.evaluate(self.distances, self.is_same, self.norms, cut=self.folds)

    @functools.cached_property
    def slices(self) -> tuple[slices.SliceFigures, ...]:
        """Every slice at the threshold of all pairs; none where there is no such threshold."""
        if self.result.threshold is None:
            return ()
        return slices.slice_figures(self.distances, self.is_same, self.result.threshold, self.attributes)

    def figure(self, name: str) -> float | None:
        """One of `conditions.FIGURES`; None where it isn't defined."""
        value = getattr(self.result, name)
        return None if value is None else float(value)

    def gap(self, figure: str, column: str) -> float | None:
        """See `slices.gap`."""
        return slices.gap(self.slices, column, figure)

    def no_gap(self, figure: str, column: str) -> str:
        """Why `gap` is None."""
        if column not in self.attributes:
            return f"the set has no attribute {column!r}"
        if self.result.threshold is None:
            return self.result.undefined["threshold"]
        kinds = {"accuracy": "pairs of each kind", "tar": support.SAME, "far": support.DIFFERENT}
        return f"needs two values of {column!r} with {support.MIN_PAIRS} {kinds[figure]} each"

    def to_array(self) -> np.ndarray:
        """Distances, norms and is_same as columns, float64 [N, 3]."""
        return np.stack([self.distances, self.norms, self.is_same.astype(np.float64)], axis=1)

    @classmethod
    def from_array(cls, array: np.ndarray, attributes: Mapping[str, Sequence[str]], folds: Cut) -> Self:
        """The inverse of `to_array`, with the attributes and the cut that it doesn't hold."""
        return cls(array[:, 0], array[:, 2] > 0, array[:, 1], attributes, folds)


@dataclasses.dataclass(frozen=True)
class Change:
    """How the accuracies of two models on the same pairs differ.

    Attributes:
      difference: the first one's minus the second one's, -1..1.
      p_value: of McNemar's two-sided test, 0..1.
      significant: the difference, or 0 where the p-value is not below the level of significance: a difference that
        chance explains neither blesses nor blocks.
    """

    difference: float
    p_value: float
    significant: float


@dataclasses.dataclass(frozen=True, eq=False)
class Judgements:
    """Which pairs of a set a model judged correctly.

    Attributes:
      accuracy: mean over folds, 0..1.
      correct: bool [N].
    """

    accuracy: float
    correct: np.ndarray

    @classmethod
    def of(cls, table: PairTable) -> Self | None:
        """A model's judgements; None where the protocol makes none."""
        result = table.result
        return None if result.accuracy is None or result.correct is None else cls(result.accuracy, result.correct)


def change(first: Judgements | None, second: Judgements | None, level: float) -> Change | None:
    """Compares two models on the same pairs.

    Args:
      first: of the one.
      second: of the other.
      level: of significance, above 0 and below 1.

    Returns:
      The change; None where one of them judges nothing.
    """
    if first is None or second is None:
        return None
    difference = first.accuracy - second.accuracy
    p_value = mcnemar(first.correct, second.correct).p_value
    return Change(difference, p_value, difference if p_value < level else 0.0)
