"""What the report says about the model beside another one, on the same pairs."""

from collections.abc import Sequence

import numpy as np

from evaluator_custom.protocol.conditions import SIGNIFICANCE
from evaluator_custom.protocol.verification_statistics import McNemarResult, ProtocolError, mcnemar
from evaluator_custom.report import plots
from evaluator_custom.report.evaluated_set import EvaluatedSet
from evaluator_custom.report.markup import DASH, image_pairs, number, paragraph, plot, row_of, section, table
from evaluator_custom.report.text import in_html

_EACH_WAY = 10
MODEL, BASELINE = "this model", "baseline"


def match(
    sets: Sequence[EvaluatedSet], baseline: Sequence[EvaluatedSet]
) -> dict[str, tuple[EvaluatedSet, EvaluatedSet]]:
    """Both models' results on the sets that both have and that have an accuracy, by name.

    Raises:
      ProtocolError: a set of the same name with other pairs.
    """
    others = {evaluated.name: evaluated for evaluated in baseline}
    both = {own.name: (own, others[own.name]) for own in sets if own.name in others}
    for name, (own, other) in both.items():
        if not np.array_equal(own.is_same, other.is_same):
            raise ProtocolError(
                f"{name}: expected the baseline's results on the same {own.is_same.size} pairs. "
                f"Received: {other.is_same.size} pairs, or as many of other kinds"
            )
    return {name: models for name, models in both.items() if all(model.is_judged for model in models)}


def comparison_section(
    sets: Sequence[EvaluatedSet],
    both: dict[str, tuple[EvaluatedSet, EvaluatedSet]],
    rocs: dict[str, bytes],
    name: str,
    anchor: str,
) -> str:
    """The comparison on all sets.

    Args:
      sets: all that the model was evaluated on.
      both: of `match`.
      rocs: PNG of both ROCs by set.
      name: of the baseline.
      anchor: of the heading.
    """
    tests = {key: mcnemar(own.correct, other.correct) for key, (own, other) in both.items()}
    rows = []
    for own in sets:
        if own.name not in both:
            rows.append((own.name, number(own.result.accuracy), *[DASH] * 5))
            continue
        other, test = both[own.name][1], tests[own.name]
        difference = (own.result.accuracy or 0) - (other.result.accuracy or 0)
        rows.append(
            (
                own.name,
                number(own.result.accuracy),
                number(other.result.accuracy),
                f"{difference:+.4f}",
                f"{test.only_first:,}",
                f"{test.only_second:,}",
                p_value(test),
            )
        )
    head = ("set", MODEL, BASELINE, "difference", f"only {MODEL} right", f"only {BASELINE} right", "McNemar's p")
    return section(
        anchor,
        "Comparison with the baseline",
        paragraph(f"The baseline is {name}."),
        table("Accuracy of both models on the same pairs", head, rows),
        *(_set(own, other, tests[key], rocs[key]) for key, (own, other) in both.items()),
    )


def p_value(test: McNemarResult) -> str:
    """To two significant digits."""
    return f"{test.p_value:.2g}" if test.p_value >= 1e-4 else "< 0.0001"


def in_words(test: McNemarResult) -> str:
    """What McNemar's test says, for those who don't know it."""
    if not test.only_first + test.only_second:
        return "Both models judge every pair alike."
    counts = (
        f"On {test.only_first:,} pairs {MODEL} alone is right, on {test.only_second:,} the {BASELINE} alone. Two "
        f"equally good models would differ at least this unevenly with a probability of {p_value(test)} (McNemar's "
        "exact test): "
    )
    if test.p_value >= SIGNIFICANCE:
        return counts + f"no significant difference at the level of {SIGNIFICANCE:g}."
    better = MODEL if test.only_first > test.only_second else f"the {BASELINE}"
    return counts + f"{better} is better on these pairs, more than chance explains."


def _set(own: EvaluatedSet, other: EvaluatedSet, test: McNemarResult, roc: bytes) -> str:
    alt = f"ROC of {own.name}, {MODEL} and {BASELINE}: area {number(own.result.auc)} and {number(other.result.auc)}"
    right, other_right = own.correct, other.correct
    return (
        f"<h3>{in_html(own.name)}</h3>"
        + row_of(plot(roc, alt, "At the left edge: without any false accept."), paragraph(in_words(test), "advice"))
        + _pairs(f"Only {MODEL} right", own, other, right & ~other_right)
        + _pairs(f"Only the {BASELINE} right", own, other, other_right & ~right)
    )


def _pairs(title: str, own: EvaluatedSet, other: EvaluatedSet, chosen: np.ndarray) -> str:
    """The pairs on which the two models' distances differ most."""
    indices = np.flatnonzero(chosen)
    change = np.abs(own.distances - other.distances)[indices]
    indices = indices[np.argsort(-change, kind="stable")]
    captions = {}
    for i in indices[:_EACH_WAY].tolist():
        kind = "one person" if own.is_same[i] else "two people"
        captions[i] = f"pair {i}, {kind}: {own.distances[i]:.3f}, {BASELINE} {other.distances[i]:.3f}"
    return f"<h4>{title} ({len(indices):,} in all)</h4>" + image_pairs(captions, own.images)


def roc_of_both(own: EvaluatedSet, other: EvaluatedSet) -> bytes:
    """PNG of both models' ROC."""
    return plots.roc_png({MODEL: own, BASELINE: other})
