"""Which threshold to use for a wanted false accept rate (FAR), and how much the pairs can say about it."""

import dataclasses
from typing import Any

import numpy as np
from scipy.stats import binomtest

from arcface_common.features import FAR_TARGETS
from arcface_common.protocol import support
from arcface_common.protocol.verification_statistics import allowed

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


def thresholds_by_far(distances: np.ndarray, is_same: np.ndarray) -> dict[str, dict[str, Any]]:
    """The threshold of each of the usual rates, as `verification.json` keeps it for `verify --far`.

    Args:
      distances: squared distances, float64 [N], 0..4; NaN where an embedding has no direction.
      is_same: bool [N].

    Returns:
      Rate, e.g. "0.001" -> `threshold` (squared distance), `tar`, `false_accepts` and `impostors` (pairs of different
      people: accepted, and all), or `reason`, why these pairs bear no such threshold.
    """
    whole = support.whole_set(distances, is_same)
    impostors = int(np.sum(~is_same))
    found: dict[str, dict[str, Any]] = {}
    for far in FAR_TARGETS:
        reason = whole or support.needs(far, impostors)
        chosen = None if reason else recommend(distances, is_same, far)
        if chosen is not None and not chosen.false_accepts and not chosen.tar:
            reason = f"distances tie: no threshold accepts a pair, and {far:g} or less of the {support.DIFFERENT}"
        if reason or chosen is None:
            found[f"{far:g}"] = {"reason": reason}
        else:
            names = ("threshold", "tar", "false_accepts", "impostors")
            found[f"{far:g}"] = {name: getattr(chosen, name) for name in names}
    return found
