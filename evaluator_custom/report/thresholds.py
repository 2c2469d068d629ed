"""Which threshold to use for a wanted false accept rate, and how much the pairs can say about it."""

import dataclasses
import math

import numpy as np
from scipy.stats import binomtest

from evaluator_custom.report.evaluated_set import EvaluatedSet
from evaluator_custom.report.markup import DASH, number, paragraph, percent, table
from evaluator_custom.verification_statistics import FAR_TARGETS, allowed

# "To be 90 percent confident that the true error rate is within ± 30 percent of the observed one, there must be at
# least 30 errors": G. Doddington et al., "The NIST speaker recognition evaluation", Speech Communication 31, 2000.
_ENOUGH_FALSE_ACCEPTS = 30
_STEPS = np.arange(4001) / 1000  # the thresholds that three decimals can name


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """A threshold and what it does to the pairs of a set, at the threshold as it is printed.

    Attributes:
      far: the wanted false accept rate, above 0 and below 1.
      threshold: squared distance below which two faces count as one person, a multiple of 0.001.
      tar: share of the pairs of one person that it accepts, 0..1.
      false_accepts: number of pairs of different people that it accepts: what the rate rests on.
      impostors: number of pairs of different people.
      far_interval: exact 95 % interval (Clopper and Pearson, 1934) of the false accept rate. It takes pairs as
        independent, which people who occur in several are not, so it is narrow rather than wide.
    """

    far: float
    threshold: float
    tar: float
    false_accepts: int
    impostors: int
    far_interval: tuple[float, float]

    @property
    def cosine(self) -> float:
        """The same threshold as cosine similarity, above which two faces count as one person, -1..1."""
        return 1 - self.threshold / 2


def recommend(distances: np.ndarray, is_same: np.ndarray, far: float) -> Recommendation | None:
    """The largest threshold, in steps of 0.001, whose false accept rate on these pairs is at most the wanted one.

    Args:
      distances: squared distances, float64 [N], 0..4.
      is_same: bool [N].
      far: the wanted false accept rate, above 0 and below 1.

    Returns:
      The recommendation; None where the pairs cannot tell: fewer than 1 / far of different people, or none of one.
    """
    genuine, impostors = distances[is_same], np.sort(distances[~is_same])
    accepts = allowed(far, impostors.size)
    if accepts < 1 or not genuine.size:
        return None
    threshold = float(_STEPS[np.searchsorted(_STEPS, impostors[accepts], side="right") - 1])
    false_accepts = int(np.sum(impostors < threshold))
    interval = binomtest(false_accepts, impostors.size).proportion_ci(0.95)
    return Recommendation(
        far=far,
        threshold=threshold,
        tar=float(np.mean(genuine < threshold)),
        false_accepts=false_accepts,
        impostors=impostors.size,
        far_interval=(float(interval.low), float(interval.high)),
    )


def recommendations(evaluated: EvaluatedSet) -> str:
    """A sentence for the rate that the protocol aimed at, and a table of others."""
    rows = []
    for far in FAR_TARGETS:
        wanted = f"{far:.0e} = {percent(far)}".replace("e-0", "e-")
        found = recommend(evaluated.distances, evaluated.is_same, far)
        if found is None:
            rows.append((wanted, *[DASH] * 3, f"needs {math.ceil(1 / far):,} pairs", DASH))
            continue
        low, high = found.far_interval
        rests_on = f"{found.false_accepts:,} of {found.impostors:,} pairs"
        interval = f"{percent(low)} … {percent(high)}"
        rows.append((wanted, number(found.threshold, 3), number(found.cosine), number(found.tar), rests_on, interval))
    head = ("wanted FAR", "squared distance below", "cosine above", "TAR", "FAR rests on", "95 % interval of FAR")
    return _sentence(evaluated) + table("Thresholds by wanted false accept rate (FAR)", head, rows)


def _sentence(evaluated: EvaluatedSet) -> str:
    far = evaluated.result.far_target
    found = recommend(evaluated.distances, evaluated.is_same, far) if far < 1 else None
    if found is None:
        impostors = int(np.sum(~evaluated.is_same))
        return paragraph(
            f"No threshold can be recommended for a false accept rate of {percent(far)}: that takes at least "
            f"{math.ceil(1 / far):,} pairs of different people, and some of one person. This set has {impostors:,} and "
            f"{evaluated.is_same.size - impostors:,}.",
            "advice",
        )
    advice = (
        f"To accept at most {percent(far)} of pairs of different people, call two faces one person where their squared "
        f"distance is below {found.threshold:.3f}, that is, their cosine above {found.cosine:.4f}. On this set that "
        f"accepts {percent(found.tar)} of the pairs of one person and {found.false_accepts:,} of {found.impostors:,} "
        "pairs of different people."
    )
    if found.false_accepts < _ENOUGH_FALSE_ACCEPTS:
        low, high = found.far_interval
        advice += (
            f" So few false accepts say little: on other pairs of the same kind the rate may well be anything from "
            f"{percent(low)} to {percent(high)}. Measure it again with at least "
            f"{math.ceil(_ENOUGH_FALSE_ACCEPTS / far):,} pairs of different people from where the model is used."
        )
    return paragraph(advice, "advice")
