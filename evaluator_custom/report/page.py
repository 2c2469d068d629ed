"""Writes the report on verification sets."""

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from arcface_common.console import progress
from arcface_common.pages import render
from arcface_common.protocol.comparison import compare
from arcface_common.protocol.scored_pairs import ScoredPairs
from arcface_common.protocol.support import reason_lines
from evaluator_custom.report.files import put_report
from trainer_module.training.curve import Point

TEMPLATES = resources.files(__package__) / "templates"
# Figures whose reasons are shown where they are dashes, and what the page calls them.
_SHOWN = {
    "accuracy": "accuracy",
    "accuracy_ci": "interval",
    "tar_1e2": "TAR at FAR 1 %",
    "tar": "TAR at FAR 0.1 %",
    "eer": "EER",
    "auc": "AUC",
    "xnorm": "XNorm",
    "threshold": "threshold",
}


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
    """Writes the page and its plots, which replace those of an earlier report as one; for their owner alone.

    The plots are `<page>_files/<set>.png`, and `comparison-<set>.png` of sets that the baseline has, too. Memory is
    bounded by some arrays of 8 bytes a pair and, of each set's images, the at most 120 that are shown. The page shows
    images of the verification sets: it is as confidential as they are.

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
      DataError: something else lies where the plots go.
    """
    # matplotlib, 0.3 s, is only wanted where a report is written.
    from evaluator_custom.report import plots
    from evaluator_custom.report.set_view import comparison_view, set_view

    page = Path(path)
    model = facts.get("model", page.stem)
    others = {pairs.name: pairs for pairs in baseline or ()}
    compared = {pairs.name: compare(pairs, others.get(pairs.name)) for pairs in sets}
    views, comparisons, drawn = [], {}, {}
    for pairs in progress(sets, description="drawing report", unit="set"):
        file_name = quote(pairs.name, safe="")
        if comparison := compared[pairs.name]:
            view = comparison_view(pairs, others[pairs.name], comparison)
            comparisons[pairs.name], drawn[f"comparison-{file_name}"] = view, view["roc"].png
        views.append(set_view(pairs))
        if pairs.accuracy is not None:
            drawn[file_name] = plots.beside([plot.png for plot in views[-1]["plots"]])
    html = render(
        TEMPLATES,
        "evaluation.html",
        title=f"Face verification: {model}",
        model=model,
        contents=dict(_contents(sets, verdict is not None, baseline is not None)),
        warnings=warnings,
        verdict=verdict,
        facts=facts,
        training=plots.training_plots(curve),
        sets=sets,
        far_target=sets[0].result.far_target,
        reasons=reason_lines({pairs.name: pairs.result.undefined for pairs in sets}, _SHOWN),
        comparisons=None if baseline is None else comparisons,
        baseline_name=baseline_name or "unnamed",
        views=views,
    )
    put_report(page, html, drawn)


def _contents(sets: Sequence[ScoredPairs], has_verdict: bool, has_baseline: bool) -> Iterator[tuple[str, str]]:
    """Anchor and title of each part."""
    if has_verdict:
        yield "verdict", "Verdict"
    yield from (("lineage", "Model and data"), ("figures", "Figures"))
    if has_baseline:
        yield "comparison", "Comparison"
    yield from ((f"set-{place}", pairs.name) for place, pairs in enumerate(sets))
    yield "card", "Model card"
