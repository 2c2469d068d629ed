"""Writes the report: the page, and its plots as PNG beside it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from arcface_common.console import progress
from evaluator_custom.protocol.scored_pairs import ScoredPairs
from evaluator_custom.report.document import FOOTER, document, header, write
from evaluator_custom.report.figures import figures_section
from evaluator_custom.report.markup import section
from evaluator_custom.report.model_card import model_card
from evaluator_custom.report.verdict_section import verdict_section
from trainer_module.training.curve import Point


def write_report(
    path: str | os.PathLike[str],
    sets: Sequence[ScoredPairs],
    facts: Mapping[str, str],
    *,
    baseline: Sequence[ScoredPairs] | None = None,
    baseline_name: str | None = None,
    warnings: Sequence[str] = (),
    verdict: Mapping[str, Any] | None = None,
    curve: Sequence[Point] = (),
) -> None:
    """Writes the page, and each set's plots beside it; each file aside first, then renamed, for its owner alone.

    The plots are `<page>-<set>.png`, and `<page>-comparison-<set>.png` of sets that the baseline has, too.
    Memory is bounded by some arrays of 8 bytes a pair and, of each set's images, the at most 120 that are shown.
    The page shows images of the verification sets: it is as confidential as they are. A folder that is made for it is
    for its owner alone, too.

    Args:
      path: the HTML file.
      sets: at least one, of different names.
      facts: what the page says about model, data, code and settings, in this order; "model" names the model.
      baseline: another model's results on these sets, as far as there are any; None for no comparison.
      baseline_name: what the page calls that model.
      warnings: sentences that are shown above everything else.
      verdict: of `verdict.make_verdict`, with `blessed`; None where nothing was decided.
      curve: of the training; empty where none is known.

    Raises:
      ProtocolError: the baseline's results on a set are of other pairs.
    """
    # matplotlib, 0.3 s, is only wanted where a report is written.
    from evaluator_custom.report import comparison, plots
    from evaluator_custom.report.set_section import set_section
    from evaluator_custom.report.training_section import training_section

    page = Path(path)
    model = facts.get("model", page.stem)
    others = comparison.comparable(sets, baseline or ())
    page.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    titles, parts, rocs = {}, [], {}
    for place, pairs in enumerate(progress(sets, description="drawing report", unit="set")):
        file_name = quote(pairs.name, safe="")
        if pairs.accuracy is not None:
            write(page.with_name(f"{page.stem}-{file_name}.png"), plots.overview_png(pairs))
        if other := others.get(pairs.name):
            rocs[pairs.name] = comparison.roc_of_both(pairs, other)
            write(page.with_name(f"{page.stem}-comparison-{file_name}.png"), rocs[pairs.name])
        titles[f"set-{place}"] = pairs.name
        parts.append(set_section(pairs, f"set-{place}"))
    if baseline is not None:
        titles = {"comparison": "Comparison", **titles}
        parts.insert(0, comparison.comparison_section(sets, others, rocs, baseline_name or "unnamed", "comparison"))
    titles = {"lineage": "Model and data", "figures": "Figures", **titles, "card": "Model card"}
    if verdict is not None:
        titles = {"verdict": "Verdict", **titles}
    parts = [
        header("Face verification report", model, titles, warnings),
        *([] if verdict is None else [verdict_section(verdict, "verdict")]),
        training_section(facts, curve, "lineage"),
        figures_section(sets, "figures"),
        *parts,
        section("card", "Model card", model_card(has_groups=any(pairs.attributes for pairs in sets))),
        FOOTER,
    ]
    write(page, document(f"Face verification: {model}", parts).encode())
