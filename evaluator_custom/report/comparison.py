"""What the report says about the model beside another one, on the same pairs."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluator_custom.protocol.comparison import Comparison, compare
from evaluator_custom.protocol.conditions import SIGNIFICANCE
from evaluator_custom.protocol.scored_pairs import ScoredPairs
from evaluator_custom.report import plots
from evaluator_custom.report.markup import DASH, image_pairs, number, paragraph, plot, row_of, section, table
from evaluator_custom.report.text import in_html

_EACH_WAY = 10
MODEL, BASELINE = "this model", "baseline"


def comparable(sets: Sequence[ScoredPairs], baseline: Sequence[ScoredPairs]) -> dict[str, ScoredPairs]:
    """The baseline's results on the sets that both models have and that both bear an accuracy of, by name.

    Raises:
      ProtocolError: a set of the same name with other pairs.
    """
    others = {pairs.name: pairs for pairs in baseline}
    return {own.name: others[own.name] for own in sets if own.name in others and compare(own, others[own.name])}


def comparison_section(
    sets: Sequence[ScoredPairs],
    others: Mapping[str, ScoredPairs],
    rocs: dict[str, bytes],
    name: str,
    anchor: str,
) -> str:
    """The comparison on all sets.

    Args:
      sets: the model's.
      others: of `comparable`.
      rocs: PNG of both ROCs by set.
      name: of the baseline.
      anchor: of the heading.
    """
    rows, parts = [], []
    for own in sets:
        other = others.get(own.name)
        found = compare(own, other)
        if other is None or found is None:
            rows.append((own.name, number(own.accuracy), *[DASH] * 5))
            continue
        alone = (f"{count:,}" for count in (found.mcnemar.only_first, found.mcnemar.only_second))
        rows.append(
            (own.name, number(own.accuracy), number(other.accuracy), f"{found.difference:+.4f}", *alone, found.p_value)
        )
        parts.append(_set(own, other, found, rocs[own.name]))
    head = ("set", MODEL, BASELINE, "difference", f"only {MODEL} right", f"only {BASELINE} right", "McNemar's p")
    return section(
        anchor,
        "Comparison with the baseline",
        paragraph(f"The baseline is {name}."),
        table("Accuracy of both models on the same pairs", head, rows),
        *parts,
    )


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


def _set(own: ScoredPairs, other: ScoredPairs, comparison: Comparison, roc: bytes) -> str:
    alt = f"ROC of {own.name}, {MODEL} and {BASELINE}: area {number(own.result.auc)} and {number(other.result.auc)}"
    right, other_right = own.correct, other.correct
    return (
        f"<h3>{in_html(own.name)}</h3>"
        + row_of(
            plot(roc, alt, "At the left edge: without any false accept."), paragraph(in_words(comparison), "advice")
        )
        + _pairs(f"Only {MODEL} right", own, other, right & ~other_right)
        + _pairs(f"Only the {BASELINE} right", own, other, other_right & ~right)
    )


def _pairs(title: str, own: ScoredPairs, other: ScoredPairs, chosen: np.ndarray) -> str:
    """The pairs on which the two models' distances differ most."""
    indices = np.flatnonzero(chosen)
    change = np.abs(own.distances - other.distances)[indices]
    indices = indices[np.argsort(-change, kind="stable")]
    captions = {}
    for i in indices[:_EACH_WAY].tolist():
        kind = "one person" if own.is_same[i] else "two people"
        captions[i] = f"pair {i}, {kind}: {own.distances[i]:.3f}, {BASELINE} {other.distances[i]:.3f}"
    return f"<h4>{title} ({len(indices):,} in all)</h4>" + image_pairs(captions, own.images)


def roc_of_both(own: ScoredPairs, other: ScoredPairs) -> bytes:
    """PNG of both models' ROC."""
    return plots.roc_png({MODEL: own, BASELINE: other})
