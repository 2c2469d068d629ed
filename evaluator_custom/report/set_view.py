"""What the report shows of one set: curves, thresholds, groups, the worst pairs, and another model beside it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from arcface_common.features import FAR_TARGETS
from arcface_common.pages import number, percent, shortened
from arcface_common.protocol.comparison import Comparison
from arcface_common.protocol.conditions import SIGNIFICANCE, SLICE_FIGURES
from arcface_common.protocol.far_thresholds import recommend
from arcface_common.protocol.scored_pairs import ScoredPairs
from evaluator_custom.report import plots
from evaluator_custom.report.plots import Plot

MODEL, BASELINE = "this model", "baseline"
_WORST = 20
_EACH_WAY = 10  # pairs that one of two models alone gets right
# Accuracy of 0.99 over 100 pairs has a 95 % interval of 0.946 to 0.9997: two slices with fewer rarely differ for sure.
_UNCERTAIN_BELOW = 100
_MOST_SLICES = 40  # of a column: more are no groups, and nobody reads them
# "To be 90 percent confident that the true error rate is within ± 30 percent of the observed one, there must be at
# least 30 errors": G. Doddington et al., "The NIST speaker recognition evaluation", Speech Communication 31, 2000.
_ENOUGH_FALSE_ACCEPTS = 30


def set_view(pairs: ScoredPairs) -> dict[str, Any]:
    """The values that `set.html` shows; of a set that isn't judged, the pairs alone."""
    if pairs.accuracy is None:
        return {"pairs": pairs}
    wrong = ~pairs.correct
    accepts, rejects = np.flatnonzero(wrong & ~pairs.is_same), np.flatnonzero(wrong & pairs.is_same)
    return {
        "pairs": pairs,
        "plots": _plots(pairs),
        "impostors": int(np.sum(~pairs.is_same)),
        "advice": recommend(pairs.distances, pairs.is_same, pairs.result.far_target),
        "enough": _ENOUGH_FALSE_ACCEPTS,
        "thresholds": [(far, recommend(pairs.distances, pairs.is_same, far)) for far in FAR_TARGETS],
        "groups": [_group(pairs, column) for column in dict.fromkeys(of.column for of in pairs.slices)],
        "uncertain_below": _UNCERTAIN_BELOW,
        "accepts": _faces(pairs, accepts, pairs.distances[accepts], _WORST, lambda i: _caption(pairs, i)),
        "rejects": _faces(pairs, rejects, -pairs.distances[rejects], _WORST, lambda i: _caption(pairs, i)),
    }


def comparison_view(own: ScoredPairs, other: ScoredPairs, comparison: Comparison) -> dict[str, Any]:
    """What the report says of the model beside another one, on the same pairs."""
    alt = f"ROC of {own.name}, {MODEL} and {BASELINE}: area {number(own.result.auc)} and {number(other.result.auc)}"
    png = plots.roc_png({MODEL: own, BASELINE: other})
    change = -np.abs(own.distances - other.distances)

    def caption(i: int) -> str:
        kind = "one person" if own.is_same[i] else "two people"
        return f"pair {i}, {kind}: {own.distances[i]:.3f}, {BASELINE} {other.distances[i]:.3f}"

    alone = {
        f"Only {MODEL} right": np.flatnonzero(own.correct & ~other.correct),
        f"Only the {BASELINE} right": np.flatnonzero(other.correct & ~own.correct),
    }
    return {
        "comparison": comparison,
        "baseline": other,
        "roc": Plot(png, alt, "At the left edge: without any false accept."),
        "words": in_words(comparison),
        "alone": {title: _faces(own, chosen, change[chosen], _EACH_WAY, caption) for title, chosen in alone.items()},
    }


def in_words(comparison: Comparison) -> str:
    """What McNemar's test says, for those who don't know it."""
    test = comparison.mcnemar
    if not test.only_first + test.only_second:
        return "Both models judge every pair alike."
    counts = (
        f"On {test.only_first:,} pairs {MODEL} alone is right, on {test.only_second:,} the {BASELINE} alone. Two "
        f"equally good models would differ at least this unevenly with a probability of {comparison.p_value} "
        "(McNemar's exact test): "
    )
    better = comparison.better(MODEL, f"the {BASELINE}")
    if better is None:
        return counts + f"no significant difference at the level of {SIGNIFICANCE:g}."
    return counts + f"{better} is better on these pairs, more than chance explains."


def _plots(pairs: ScoredPairs) -> list[Plot]:
    result, same = pairs.result, pairs.is_same
    roc = f"ROC of {pairs.name}: area {number(result.auc)}, equal error rate {number(result.eer)}"
    medians = [f"{np.median(pairs.distances[kind]):.3f}" for kind in (same, ~same)]
    distances = (
        f"Histograms of squared distances: median {medians[0]} for one person, {medians[1]} for different people"
    )
    folds = f"Fold thresholds from {min(result.thresholds):.2f} to {max(result.thresholds):.2f}"
    return [
        Plot(plots.roc_png({pairs.name: pairs}), roc, "At the left edge: without any false accept."),
        Plot(plots.distances_png(pairs), distances, "The further apart, the better."),
        Plot(plots.folds_png(pairs), folds, "The closer together, the better a threshold carries over."),
    ]


def _faces(
    pairs: ScoredPairs, chosen: np.ndarray, order: np.ndarray, most: int, caption: Callable[[int], str]
) -> dict[str, Any]:
    """The first of some pairs: how many there are in all, and caption and images of those that are shown."""
    shown = [
        (caption(i), {f"pair {i}, left face": pairs.images[2 * i], f"pair {i}, right face": pairs.images[2 * i + 1]})
        for i in chosen[np.argsort(order, kind="stable")][:most].tolist()
    ]
    return {"total": chosen.size, "shown": shown}


def _caption(pairs: ScoredPairs, i: int) -> str:
    files = pairs.files[i] if len(pairs.files) else ""
    return f"pair {i}, distance {pairs.distances[i]:.3f}" + (f": {shortened(files, 80)}" if files else "")


def _group(pairs: ScoredPairs, column: str) -> dict[str, Any]:
    """A table and a plot of an attribute, all at the threshold of the whole set."""
    own = [of for of in pairs.slices if of.column == column]
    shown = sorted(own, key=lambda of: -of.pairs)[:_MOST_SLICES]
    shown.sort(key=own.index)
    drawn = [of for of in shown if of.accuracy is not None]
    whole = float(np.mean((pairs.distances < pairs.threshold) == pairs.is_same))
    plot = Plot(
        plots.slices_png(column, drawn, whole, _UNCERTAIN_BELOW) if drawn else b"",
        f"Accuracy by {shortened(column)}, as in the table",
        f"Bars: 95 % intervals. Dashed: the whole set, {percent(whole)}. Grey: few pairs. "
        "Hollow: too few pairs of one of the two kinds.",
    )
    return {
        "column": column,
        "shown": shown,
        "gaps": [number(pairs.gap(figure, column)) for figure in SLICE_FIGURES],
        "plot": plot if drawn else None,
        "hidden": len(own) - len(shown),
    }
