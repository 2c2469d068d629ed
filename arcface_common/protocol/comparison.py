"""The one comparison of two models on the same pairs."""

import dataclasses

import numpy as np

from arcface_common.protocol.best_so_far import Record
from arcface_common.protocol.conditions import SIGNIFICANCE
from arcface_common.protocol.scored_pairs import ScoredPairs
from arcface_common.protocol.verification_statistics import McNemarResult, ProtocolError, mcnemar


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How two models that judged the same pairs differ.

    Attributes:
      difference: accuracy of the first less that of the second, -1..1.
      mcnemar: of the pairs that each judges correctly.
    """

    difference: float
    mcnemar: McNemarResult

    @property
    def significant(self) -> float:
        """The difference, or 0 where chance explains it, which then neither blesses nor blocks."""
        return self.difference if self.mcnemar.p_value < SIGNIFICANCE else 0.0

    @property
    def p_value(self) -> str:
        """McNemar's, to two significant digits, e.g. "0.41" or "< 0.0001"."""
        return f"{self.mcnemar.p_value:.2g}" if self.mcnemar.p_value >= 1e-4 else "< 0.0001"

    def better(self, first: str, second: str) -> str | None:
        """The name of the better one, of the two given; None where the difference is not significant."""
        if self.mcnemar.p_value >= SIGNIFICANCE:
            return None
        return first if self.mcnemar.only_first > self.mcnemar.only_second else second


def compare(first: ScoredPairs, second: ScoredPairs | Record | None) -> Comparison | None:
    """Compares two models on the same pairs.

    Args:
      first: of the one.
      second: of the other; of a record it's known that it is of these pairs.

    Returns:
      The comparison; None where one of them judges nothing.

    Raises:
      ProtocolError: they are of other pairs.
    """
    if isinstance(second, ScoredPairs) and not np.array_equal(first.is_same, second.is_same):
        raise ProtocolError(
            f"{first.name}: expected the baseline's results on the same {first.is_same.size} pairs. "
            f"Received: {second.is_same.size} pairs, or as many of other kinds"
        )
    if second is None or first.accuracy is None or second.accuracy is None:
        return None
    return Comparison(first.accuracy - second.accuracy, mcnemar(first.correct, second.correct))
