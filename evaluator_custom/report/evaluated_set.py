"""What a report is made from."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluator_custom.protocol import insightface


def cosine(distance: Any) -> Any:
    """A squared distance (0..4) of two embeddings of length 1 as their cosine, -1..1; the same for an array."""
    return 1 - distance / 2


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluatedSet:
    """A verification set of N pairs and what a model makes of it.

    Attributes:
      name: e.g. "lfw".
      result: the protocol's figures.
      distances: squared distances, float64 [N], 0..4.
      is_same: bool [N].
      images: 2N encoded images (JPEG or PNG); pair i is images 2i and 2i + 1. Only those that are shown are read.
      attributes: column -> value of each pair, "" where it isn't known.
      files: names of both images of each pair, "" where they aren't known; empty if none is.
    """

    name: str
    result: insightface.VerificationResult
    distances: np.ndarray
    is_same: np.ndarray
    images: Sequence[bytes]
    attributes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    files: Sequence[str] = ()

    @property
    def cosines(self) -> np.ndarray:
        """The distances as cosines of the embeddings, float64 [N], -1..1."""
        return cosine(self.distances)

    @property
    def is_judged(self) -> bool:
        """Whether the pairs bear an accuracy, and with it a threshold."""
        return self.result.accuracy is not None

    @property
    def threshold(self) -> float:
        """The protocol's threshold; NaN where there is none."""
        return math.nan if self.result.threshold is None else self.result.threshold

    @property
    def correct(self) -> np.ndarray:
        """Whether each pair was judged correctly, bool [N], or [0] where none was judged."""
        return np.zeros(0, bool) if self.result.correct is None else self.result.correct
