"""What a report says about which threshold to use for a wanted false accept rate."""

import math

import numpy as np

from arcface_common.features import FAR_TARGETS
from evaluator_custom.protocol.far_thresholds import recommend
from evaluator_custom.protocol.scored_pairs import ScoredPairs
from evaluator_custom.report.markup import DASH, number, paragraph, percent, table

# "To be 90 percent confident that the true error rate is within ± 30 percent of the observed one, there must be at
# least 30 errors": G. Doddington et al., "The NIST speaker recognition evaluation", Speech Communication 31, 2000.
_ENOUGH_FALSE_ACCEPTS = 30


def recommendations(pairs: ScoredPairs) -> str:
    """A sentence for the rate that the protocol aimed at, and a table of others."""
    rows = []
    for far in FAR_TARGETS:
        wanted = f"{far:.0e} = {percent(far)}".replace("e-0", "e-")
        found = recommend(pairs.distances, pairs.is_same, far)
        if found is None:
            rows.append((wanted, *[DASH] * 3, f"needs {math.ceil(1 / far):,} pairs", DASH))
            continue
        low, high = found.far_interval
        rests_on = f"{found.false_accepts:,} of {found.impostors:,} pairs"
        interval = f"{percent(low)} … {percent(high)}"
        rows.append((wanted, number(found.threshold, 3), number(found.cosine), number(found.tar), rests_on, interval))
    head = ("wanted FAR", "squared distance below", "cosine above", "TAR", "FAR rests on", "95 % interval of FAR")
    return _sentence(pairs) + table("Thresholds by wanted false accept rate (FAR)", head, rows)


def _sentence(pairs: ScoredPairs) -> str:
    far = pairs.result.far_target
    found = recommend(pairs.distances, pairs.is_same, far) if far < 1 else None
    if found is None:
        impostors = int(np.sum(~pairs.is_same))
        return paragraph(
            f"No threshold can be recommended for a false accept rate of {percent(far)}: that takes at least "
            f"{math.ceil(1 / far):,} pairs of different people, and some of one person. This set has {impostors:,} and "
            f"{pairs.is_same.size - impostors:,}.",
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
