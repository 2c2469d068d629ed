"""What a report is made from."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from evaluator_custom import protocol


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
    """

    name: str
    result: protocol.VerificationResult
    distances: np.ndarray
    is_same: np.ndarray
    images: Sequence[bytes]
    attributes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
