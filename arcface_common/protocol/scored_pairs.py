"""What one model makes of the pairs of a verification set: numpy, SciPy and scikit-learn only."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from arcface_common.protocol import insightface, slices, support
from arcface_common.protocol.conditions import CUTS, Cut
from arcface_common.protocol.verification_statistics import (
    ProtocolError,
    RocCurve,
    checked_distances,
    checked_flags,
    checked_norms,
    roc_curve,
)


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredPairs:
    """N pairs in the published order, which is that of the folds, and what a model makes of them.

    >>> pairs = ScoredPairs([0.4, 1.9] * 10, [True, False] * 10, name="lfw")
    >>> pairs.accuracy, pairs.roc.auc()
    (1.0, 1.0)

    Attributes:
      distances: squared distances, float64 [N], 0..4; NaN where an embedding has no direction.
      is_same: bool [N].
      norms: mean raw length of each pair's embeddings, float64 [N]; None where it isn't known.
      attributes: column -> value of each pair, "" where it isn't known.
      folds: how they are cut, see `insightface.evaluate`.
      name: of the set, e.g. "lfw".
      images: 2N encoded images (JPEG or PNG), pair i is images 2i and 2i + 1; only those that are shown are read. Empty
        where they aren't at hand.
      files: names of both images of each pair, "" where they aren't known; empty if none is.

    Raises:
      ProtocolError: a field of another length, type or range.
    """

    distances: np.ndarray
    is_same: np.ndarray
    norms: np.ndarray | None = None
    attributes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    folds: Cut = "contiguous"
    name: str = ""
    images: Sequence[bytes] = ()
    files: Sequence[str] = ()

    def __post_init__(self) -> None:
        distances = checked_distances(self.distances, nan=True)
        pairs = distances.size
        values: dict[str, Any] = {"distances": distances, "is_same": checked_flags(self.is_same, pairs, "is_same")}
        values["norms"] = None if self.norms is None else checked_norms(self.norms, pairs)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        lengths: dict[str, float] = {f"attribute {column!r}": len(found) for column, found in self.attributes.items()}
        lengths |= {"files": len(self.files) or pairs, "images, 2 a pair,": len(self.images) / 2 or pairs}
        for name, length in lengths.items():
            if length != pairs:
                raise ProtocolError(f"{self.name}: expected {name} of {pairs} pairs. Received: {length:g}")
        if self.folds not in CUTS:
            raise ProtocolError(f"Expected folds of {CUTS}. Received: {self.folds!r}")

    @functools.cached_property
    def result(self) -> insightface.VerificationResult:
        """The protocol's figures."""
        return insightface.evaluate(self.distances, self.is_same, self.norms, cut=self.folds)

    @functools.cached_property
    def roc(self) -> RocCurve:
        """Of all pairs; an error where a distance is NaN."""
        return roc_curve(self.distances, self.is_same)

    @functools.cached_property
    def slices(self) -> tuple[slices.SliceFigures, ...]:
        """Every slice at the threshold of all pairs; none where there is no such threshold."""
        if self.result.threshold is None:
            return ()
        return slices.slice_figures(self.distances, self.is_same, self.result.threshold, self.attributes)

    @property
    def accuracy(self) -> float | None:
        """Mean over folds, 0..1; None where the pairs bear none."""
        return self.result.accuracy

    @property
    def correct(self) -> np.ndarray:
        """Whether each pair was judged correctly, bool [N]; [0] where none was judged."""
        return np.zeros(0, bool) if self.result.correct is None else self.result.correct

    @property
    def threshold(self) -> float:
        """The protocol's; NaN where there is none."""
        return math.nan if self.result.threshold is None else self.result.threshold

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
        """Distances, norms (NaN where they aren't known) and is_same as columns, float64 [N, 3]."""
        norms = np.full(self.distances.shape, math.nan) if self.norms is None else self.norms
        return np.stack([self.distances, norms, self.is_same], axis=1)

    @classmethod
    def from_array(cls, array: np.ndarray, **more: Any) -> Self:
        """The inverse of `to_array`, with the fields that it doesn't hold."""
        return cls(array[:, 0], array[:, 2] > 0, array[:, 1], **more)
