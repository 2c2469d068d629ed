"""Writes the report on folders of faces: 1:1 over all pairs, 1:N over all searches."""

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from arcface_common.pages import number, render, shortened
from arcface_common.protocol.folder_figures import FolderFigures
from evaluator_custom.report import folder_plots
from evaluator_custom.report.files import put_report
from evaluator_custom.report.page import TEMPLATES
from evaluator_custom.report.plots import Plot

_WORST = 20
_LARGEST_IMAGE = 64 * 1024  # bytes; an aligned face has 2 to 40 KB, and a page shows up to 100
_SHOWN = 168  # pixels of a larger one: sharp at twice the 84 of the page
_SIZES = 25  # points of FPIR by gallery size


def write_folder_report(path: str | os.PathLike[str], figures: FolderFigures, facts: Mapping[str, str]) -> None:
    """Writes the page and its plots, which replace those of an earlier report as one; for their owner alone.

    The plots are `<page>_files/det.png`, and `search.png`, `ranks.png`, `gallery.png` as far as the probes bear them.
    The page shows faces: it is as confidential as the folders are.

    Args:
      path: the HTML file.
      figures: what a model came to.
      facts: what the page says about model, data and code, in this order; "model" names the model.

    Raises:
      DataError: something else lies where the plots go.
    """
    page = Path(path)
    model = facts.get("model", page.stem)
    plots = dict(_plots(figures))
    html = render(
        TEMPLATES,
        "folder.html",
        title=f"Face search: {model}",
        model=model,
        figures=figures,
        plots=plots,
        misses=_misses(figures),
        strangers=_strangers(figures),
        facts=facts,
    )
    put_report(page, html, {name: plot.png for name, plot in plots.items()})


def _plots(figures: FolderFigures) -> Iterator[tuple[str, Plot]]:
    """By name, those that the probes bear."""
    pairs, search, searches = figures.verification, figures.identification, figures.searches
    if pairs.genuine and pairs.impostor:
        curve = figures.counts.curve()
        png = folder_plots.det_png(
            "1:1 errors",
            ("false accept rate", "false reject rate"),
            (curve.far, 1 - curve.tar),
            (pairs.impostor, pairs.genuine),
        )
        words = f"DET of all pairs: equal error rate {number(pairs.eer)}"
        yield "det", Plot(png, words, "At the left edge: no false accept.")
    if search.mated and search.identities > 1:
        rates = searches.rank_rates()
        words = f"Cumulative match characteristic, from {number(float(rates[0]))} at rank 1"
        yield "ranks", Plot(folder_plots.rank_png(rates), words, "How far down the list one has to look.")
    if search.mated and search.nonmated:
        trials = search.nonmated, search.mated
        png = folder_plots.det_png("1:N errors", ("FPIR", "FNIR"), searches.error_rates(), trials)
        words = f"FNIR by FPIR, over {search.nonmated:,} searches for strangers"
        yield "search", Plot(png, words, "At the left edge: no stranger is taken for anybody.")
    thresholds = {target: cosine for target, cosine in search.threshold_at_fpir.items() if cosine is not None}
    if thresholds and search.identities > 1:
        sizes = np.unique(np.geomspace(1, search.identities, _SIZES).round().astype(int))
        rates = searches.false_positive_rates(list(thresholds.values()), sizes)
        rates[rates * search.nonmated < 1 - 1e-9] = np.nan  # less than one search for a stranger of all is no figure
        labels = [f"cosine {cosine:.3f}" for cosine in thresholds.values()]
        png = folder_plots.gallery_size_png(sizes, dict(zip(labels, rates, strict=True)))
        words = f"FPIR by gallery size, up to {search.identities:,} identities, at {', '.join(labels)}"
        yield "gallery", Plot(png, words, "Mean over all smaller galleries of these people.")


def _misses(figures: FolderFigures) -> dict[str, Any]:
    """The probes whose identity came last among those that scored better."""
    searches = figures.searches
    missed = np.flatnonzero(searches.ranks > 1)
    order = np.lexsort((searches.own_scores[missed], -searches.ranks[missed]))
    rows = []
    for probe in missed[order][:_WORST].tolist():
        own, other = searches.own[probe], searches.others[probe]
        caption = (
            f"{_name(figures.probes[probe])}: rank {searches.ranks[probe]:,}, cosine {searches.own_scores[probe]:.3f}; "
            f"{_identity(figures, other)} has {searches.other_scores[probe]:.3f}"
        )
        files = figures.probes[probe], _first(figures, own), _first(figures, other)
        rows.append((caption, dict(zip(("probe", "its own identity", "the best"), map(_image, files), strict=True))))
    return {"total": missed.size, "shown": rows}


def _strangers(figures: FolderFigures) -> dict[str, Any]:
    """The probes of strangers that some identity fits best."""
    searches = figures.searches
    unknown = np.flatnonzero(~searches.mated)
    order = np.argsort(-searches.other_scores[unknown], kind="stable")
    rows = []
    for probe in unknown[order][:_WORST].tolist():
        other = searches.others[probe]
        score = f"cosine {searches.other_scores[probe]:.3f} with {_identity(figures, other)}"
        caption = f"{_name(figures.probes[probe])}: {score}"
        rows.append((caption, {"probe": _image(figures.probes[probe]), "the best": _image(_first(figures, other))}))
    return {"total": unknown.size, "shown": rows}


def _first(figures: FolderFigures, identity: int) -> Path:
    return figures.gallery[figures.searches.gallery.first_images[identity]]


def _identity(figures: FolderFigures, identity: int) -> str:
    return shortened(_first(figures, identity).parent.name, 40)


def _name(path: Path) -> str:
    return shortened(f"{path.parent.name}/{path.name}", 60)


def _image(path: Path) -> bytes:
    """The image as it is, or a smaller one where a page of many would grow too large."""
    encoded = path.read_bytes()
    if len(encoded) <= _LARGEST_IMAGE:
        return encoded
    small = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGB")
    small.thumbnail((_SHOWN, _SHOWN))
    buffer = io.BytesIO()
    small.save(buffer, format="png")
    return buffer.getvalue()
