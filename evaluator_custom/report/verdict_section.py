"""The report's first part: whether the model was blessed, and by which conditions."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluator_custom.report.markup import number, paragraph, section, table


def verdict_section(verdict: Mapping[str, Any], anchor: str) -> str:
    """The verdict in a word, then each condition with the figure that it was held against.

    Args:
      verdict: of `evaluator_custom.verdict.make_verdict`, with `blessed`.
      anchor: of the heading.
    """
    blessed = bool(verdict["blessed"])
    word = "Blessed: the model may be pushed." if blessed else "Not blessed: the model is not pushed."
    rows = [(of["text"], "holds" if of["holds"] else "fails", _found(of)) for of in verdict["conditions"]]
    return section(
        anchor,
        "Verdict",
        paragraph(word, f"verdict {'blessed' if blessed else 'blocked'}"),
        table("What a model must fulfil", ("condition", "", "found"), rows, kind="conditions"),
        *_before(verdict),
    )


def _found(condition: Mapping[str, Any]) -> str:
    """What a condition's figure is, or why there is none."""
    if condition["reason"]:
        return str(condition["reason"])
    value = condition.get("value")
    return "first model: no comparison" if value is None else number(value)


def _before(verdict: Mapping[str, Any]) -> Sequence[str]:
    """What it was compared with."""
    if verdict["baseline"] is None:
        return [paragraph("No model was blessed before: the conditions on its own figures decide.", "muted")]
    accuracies = ", ".join(f"{name} {number(of['accuracy'])}" for name, of in verdict["baseline"].items())
    return [paragraph(f"The latest blessed model has {accuracies}.", "muted")]
