"""What the report says about one set: curves, thresholds, groups and the worst pairs."""

import numpy as np

from evaluator_custom.protocol.scored_pairs import ScoredPairs
from evaluator_custom.protocol.slices import SliceFigures, gap
from evaluator_custom.report import plots, thresholds
from evaluator_custom.report.markup import (
    image_pairs,
    number,
    paragraph,
    percent,
    plot,
    row_of,
    section,
    table,
)
from evaluator_custom.report.text import shortened

_WORST = 20
# Accuracy of 0.99 over 100 pairs has a 95 % interval of 0.946 to 0.9997: two slices with fewer rarely differ for sure.
_UNCERTAIN_BELOW = 100
_MOST_SLICES = 40  # of a column: more are no groups, and nobody reads them


def set_section(pairs: ScoredPairs, anchor: str) -> str:
    """All about one set.

    Args:
      pairs: the set.
      anchor: of its heading.
    """
    if pairs.accuracy is None:
        reason = f"Not judged: {pairs.result.undefined['accuracy']}."
        return section(anchor, pairs.name, paragraph(reason, "advice"))
    wrong = ~pairs.correct
    accepts = np.flatnonzero(wrong & ~pairs.is_same)
    rejects = np.flatnonzero(wrong & pairs.is_same)
    accepts = accepts[np.argsort(pairs.distances[accepts], kind="stable")]
    rejects = rejects[np.argsort(-pairs.distances[rejects], kind="stable")]
    return section(
        anchor,
        pairs.name,
        _plots(pairs),
        "<h3>Which threshold to use</h3>",
        thresholds.recommendations(pairs),
        _slices(pairs),
        f"<h3>Worst false accepts ({len(accepts):,} in all)</h3>",
        paragraph("Different people whom the model takes for one, nearest first.", "muted"),
        _worst(pairs, accepts),
        f"<h3>Worst false rejects ({len(rejects):,} in all)</h3>",
        paragraph("One person whom the model takes for two, farthest first.", "muted"),
        _worst(pairs, rejects),
    )


def _plots(pairs: ScoredPairs) -> str:
    result, same = pairs.result, pairs.is_same
    roc = f"ROC of {pairs.name}: area {number(result.auc)}, equal error rate {number(result.eer)}"
    medians = [number(float(np.median(pairs.distances[kind])), 3) if kind.any() else "none" for kind in (same, ~same)]
    distances = (
        f"Histograms of squared distances: median {medians[0]} for one person, {medians[1]} for different people"
    )
    folds = f"Fold thresholds from {min(result.thresholds):.2f} to {max(result.thresholds):.2f}"
    return row_of(
        plot(plots.roc_png({pairs.name: pairs}), roc, "At the left edge: without any false accept."),
        plot(plots.distances_png(pairs), distances, "The further apart, the better."),
        plot(plots.folds_png(pairs), folds, "The closer together, the better a threshold carries over."),
    )


def _worst(pairs: ScoredPairs, indices: np.ndarray) -> str:
    captions = {}
    for i in indices[:_WORST].tolist():
        files = pairs.files[i] if len(pairs.files) else ""
        captions[i] = f"pair {i}, distance {pairs.distances[i]:.3f}" + (f": {shortened(files, 80)}" if files else "")
    return image_pairs(captions, pairs.images)


def _slices(pairs: ScoredPairs) -> str:
    """A table and a plot for each attribute, all at the threshold of the whole set."""
    threshold = pairs.threshold
    whole = float(np.mean((pairs.distances < threshold) == pairs.is_same))
    parts = []
    for column in dict.fromkeys(of.column for of in pairs.slices):
        own = [of for of in pairs.slices if of.column == column]
        shown = sorted(own, key=lambda of: -of.pairs)[:_MOST_SLICES]
        shown.sort(key=own.index)
        parts.append(_column(column, own, shown, whole))
    if not parts:
        return ""
    intro = (
        f"Every group is judged at the threshold of the whole set, {threshold:.3f}, as users of one model are. "
        f"Groups of fewer than {_UNCERTAIN_BELOW} pairs are marked: chance alone moves their figures by several "
        "hundredths. Accuracy is compared between groups that hold both kinds of pairs."
    )
    return "<h3>Groups</h3>" + paragraph(intro, "muted") + "".join(parts)


def _column(column: str, own: list[SliceFigures], shown: list[SliceFigures], whole: float) -> str:
    rows = [
        (
            shortened(of.value) + (" (few pairs)" if of.pairs < _UNCERTAIN_BELOW else ""),
            f"{of.pairs:,}",
            number(of.accuracy),
            number(of.tar),
            number(of.far),
        )
        for of in shown
    ]
    foot = ("gap, best to worst", "", *(number(gap(own, column, figure)) for figure in ("accuracy", "tar", "far")))
    drawn = [of for of in shown if of.accuracy is not None]
    parts = [table(f"By {shortened(column)}", ("value", "pairs", "accuracy", "TAR", "FAR"), rows, foot=foot)]
    if drawn:
        parts.append(
            plot(
                plots.slices_png(column, drawn, whole, _UNCERTAIN_BELOW),
                f"Accuracy by {shortened(column)}, as in the table",
                f"Bars: 95 % intervals. Dashed: the whole set, {percent(whole)}. Grey: few pairs. "
                "Hollow: too few pairs of one of the two kinds.",
            )
        )
    hidden = len(own) - len(shown)
    return row_of(*parts) + (paragraph(f"{hidden:,} smaller groups are not shown.", "muted") if hidden else "")
