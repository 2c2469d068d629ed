"""What one model makes of the pairs of a set or slice, and of two models on the same pairs: numpy only."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from evaluator_custom import protocol, slices
from evaluator_custom.verification_statistics import mcnemar

_FOLDS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class PairTable:
    """N pairs in the published order, which is that of the folds.

    Attributes:
      distances: squared distances, float64 [N], 0..4.
      is_same: bool [N].
      norms: mean raw length of each pair's embeddings, float64 [N].
      attributes: column -> value of each pair, "" where it isn't known.
    """

    distances: np.ndarray
    is_same: np.ndarray
    norms: np.ndarray
    attributes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def result(self) -> protocol.VerificationResult | None:
        """The protocol's figures; None with fewer pairs than the protocol has folds."""
        if self.distances.size < _FOLDS:
            return None
        return protocol.evaluate(self.distances, self.is_same, self.norms, folds=_FOLDS)

    @functools.cached_property
    def slices(self) -> tuple[slices.SliceFigures, ...]:
        """Every slice at the threshold of all pairs; none where there is no such threshold."""
        if self.result is None:
            return ()
        return slices.slice_figures(self.distances, self.is_same, self.result.threshold, self.attributes)

    def figure(self, name: str) -> float | None:
        """One of `conditions.FIGURES`; None where it isn't defined."""
        if name == "pairs":
            return float(self.distances.size)
        value = None if self.result is None else getattr(self.result, name)
        return None if value is None else float(value)

    def gap(self, figure: str, column: str) -> float | None:
        """See `slices.gap`."""
        return slices.gap(self.slices, column, figure)

    def to_array(self) -> np.ndarray:
        """Distances, norms and is_same as columns, float64 [N, 3]."""
        return np.stack([self.distances, self.norms, self.is_same.astype(np.float64)], axis=1)

    @classmethod
    def from_array(cls, array: np.ndarray, attributes: Mapping[str, Sequence[str]]) -> Self:
        """The inverse of `to_array`, with the attributes that it doesn't hold."""
        return cls(array[:, 0], array[:, 2] > 0, array[:, 1], attributes)


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


def change(first: PairTable, second: PairTable, level: float) -> Change | None:
    """Compares two models on the same pairs.

    Args:
      first: of the one.
      second: of the other.
      level: of significance, above 0 and below 1.

    Returns:
      The change; None with too few pairs.
    """
    if first.result is None or second.result is None:
        return None
    difference = first.result.accuracy - second.result.accuracy
    p_value = mcnemar(first.result.correct, second.result.correct).p_value
    return Change(difference, p_value, difference if p_value < level else 0.0)
