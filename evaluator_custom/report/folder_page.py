"""Writes the report on folders of faces: 1:1 over all pairs, 1:N over all searches."""

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from evaluator_custom.protocol.folder_figures import FolderFigures
from evaluator_custom.report import folder_plots
from evaluator_custom.report.document import FOOTER, document, header, write
from evaluator_custom.report.markup import (
    DASH,
    image_rows,
    number,
    paragraph,
    percent,
    plot,
    row_of,
    section,
    table,
)
from evaluator_custom.report.model_card import SEARCH, model_card
from evaluator_custom.report.text import in_html, shortened
from evaluator_custom.report.training_section import training_section

_WORST = 20
_LARGEST_IMAGE = 64 * 1024  # bytes; an aligned face has 2 to 40 KB, and a page shows up to 100
_SHOWN = 168  # pixels of a larger one: sharp at twice the 84 of the page
_SIZES = 25  # points of FPIR by gallery size

_ADVICE = (
    "A threshold for search belongs to its gallery's size: with ten times as many people about ten times as many "
    "strangers find somebody."
)
_RESTS_ON = """All pairs of the images, and all searches, with the embedding of an image plus that of its mirror. Pairs
and searches share images and people, so chance moves the figures by more than their number suggests. A wrong folder
name counts as an error of the model: look at the worst searches above first. People who are also in the training data
flatter a model."""

_READING = """<details><summary>How to read this</summary><dl>
<dt>TAR, FAR</dt><dd>True accept rate: share of the pairs of one person that are accepted at a threshold. False accept
rate: share of the pairs of different people that are accepted. 1 - TAR is the false reject rate.</dd>
<dt>rank</dt><dd>The place of the right identity among all of the gallery, by cosine with the probe. One that scores
just as high counts as better.</dd>
<dt>FPIR</dt><dd>False positive identification rate: share of the searches for strangers, who are not in the gallery,
that find somebody above the threshold.</dd>
<dt>TPIR, FNIR</dt><dd>True positive identification rate: share of the searches for people of the gallery whose own
identity is the best and above the threshold. FNIR is 1 - TPIR.</dd>
<dt>threshold</dt><dd>The cosine of two embeddings of length 1, from which on two faces count as one person.</dd>
</dl></details>"""


def write_folder_report(path: str | os.PathLike[str], figures: FolderFigures, facts: Mapping[str, str]) -> None:
    """Writes the page, and its plots as PNG beside it; each file aside first, then renamed, for its owner alone.

    The plots are `<page>-det.png`, and `<page>-search.png`, `<page>-ranks.png`, `<page>-gallery.png` as far as the
    probes bear them. The page shows faces: it is as confidential as the folders are.

    Args:
      path: the HTML file.
      figures: what a model came to.
      facts: what the page says about model, data and code, in this order; "model" names the model.
    """
    page = Path(path)
    page.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    drawn = dict(_plots(figures))
    for name, (png, _, _) in drawn.items():
        write(page.with_name(f"{page.stem}-{name}.png"), png)
    shown = {name: plot(*parts) for name, parts in drawn.items()}
    model = facts.get("model", page.stem)
    titles = {
        "figures": "Figures",
        "verification": "1:1",
        "identification": "1:N",
        "lineage": "Model and data",
        "card": "Model card",
    }
    parts = [
        header("Face search report", model, titles),
        _figures(figures),
        section("verification", "1:1: two faces", row_of(_rates(figures, "FAR"), *_of(shown, "det"))),
        section(
            "identification",
            "1:N: a face in the gallery",
            row_of(_rates(figures, "FPIR"), *_of(shown, "ranks")),
            row_of(*_of(shown, "search", "gallery")),
            paragraph(_ADVICE, "advice"),
            _misses(figures),
            _strangers(figures),
        ),
        training_section(facts, (), "lineage"),
        section("card", "Model card", model_card(has_groups=False, rests_on=_RESTS_ON, use=SEARCH)),
        FOOTER,
    ]
    write(page, document(f"Face search: {model}", parts).encode())


def _of(shown: Mapping[str, str], *names: str) -> list[str]:
    return [shown[name] for name in names if name in shown]


def _figures(figures: FolderFigures) -> str:
    """The figures in large, and why some are missing."""
    pairs, search = figures.verification, figures.identification
    of_pairs = f"{pairs.genuine:,} same, {pairs.impostor:,} different: {figures.pairs}"
    of_search = f"{search.mated:,} probes of {search.identities:,} identities"
    cards = [
        ("equal error rate, 1:1", pairs.eer, of_pairs),
        *((f"rank {k}, 1:N", rate, of_search) for k, rate in search.rank_rates.items()),
    ]
    shown = "".join(
        f"<li><span>{name}</span><b>{DASH if rate is None else percent(rate)}</b><span>{in_html(words)}</span></li>"
        for name, rate, words in cards
    )
    dashes = "".join(paragraph(f"{DASH} {reason}", "muted") for reason in figures.reasons())
    return section("figures", "Figures", f'<ul class="cards">{shown}</ul>', dashes, _READING)


def _rates(figures: FolderFigures, target: str) -> str:
    """TAR by FAR, or TPIR by FPIR."""
    pairs, search = figures.verification, figures.identification
    if target == "FAR":
        caption, rate, rates, cosines = figures.pairs, "TAR", pairs.tar_at_far, pairs.threshold_at_far
    else:
        caption = f"{search.mated:,} probes of the gallery, {search.nonmated:,} of strangers: {figures.unknowns}"
        rate, rates, cosines = "TPIR", search.tpir_at_fpir, search.threshold_at_fpir
    rows = [(percent(key), number(value), number(cosines[key])) for key, value in rates.items()]
    return table(caption, (target, rate, "cosine threshold"), rows)


def _plots(figures: FolderFigures) -> Iterator[tuple[str, tuple[bytes, str, str]]]:
    """Name -> PNG, what it shows in words, and the line below it."""
    pairs, search, searches = figures.verification, figures.identification, figures.searches
    if pairs.genuine and pairs.impostor:
        curve = figures.counts.curve()
        png = folder_plots.det_png(
            "1:1 errors",
            ("false accept rate", "false reject rate"),
            (curve.far, 1 - curve.tar),
            (pairs.impostor, pairs.genuine),
        )
        yield (
            "det",
            (png, f"DET of all pairs: equal error rate {number(pairs.eer)}", "At the left edge: no false accept."),
        )
    if search.mated and search.identities > 1:
        rates = searches.rank_rates()
        words = f"Cumulative match characteristic, from {number(float(rates[0]))} at rank 1"
        yield "ranks", (folder_plots.rank_png(rates), words, "How far down the list one has to look.")
    if search.mated and search.nonmated:
        trials = search.nonmated, search.mated
        png = folder_plots.det_png("1:N errors", ("FPIR", "FNIR"), searches.error_rates(), trials)
        words = f"FNIR by FPIR, over {search.nonmated:,} searches for strangers"
        yield "search", (png, words, "At the left edge: no stranger is taken for anybody.")
    thresholds = {target: cosine for target, cosine in search.threshold_at_fpir.items() if cosine is not None}
    if thresholds and search.identities > 1:
        sizes = np.unique(np.geomspace(1, search.identities, _SIZES).round().astype(int))
        rates = searches.false_positive_rates(list(thresholds.values()), sizes)
        rates[rates * search.nonmated < 1 - 1e-9] = np.nan  # less than one search for a stranger of all is no figure
        labels = [f"cosine {cosine:.3f}" for cosine in thresholds.values()]
        png = folder_plots.gallery_size_png(sizes, dict(zip(labels, rates, strict=True)))
        words = f"FPIR by gallery size, up to {search.identities:,} identities, at {', '.join(labels)}"
        yield "gallery", (png, words, "Mean over all smaller galleries of these people.")


def _misses(figures: FolderFigures) -> str:
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
    return (
        f"<h3>Worst searches ({missed.size:,} not at rank 1)</h3>"
        + paragraph("The probe, its own identity, and the one that scored best, each by its first image.", "muted")
        + image_rows(rows)
    )


def _strangers(figures: FolderFigures) -> str:
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
    return (
        f"<h3>Strangers who look most like somebody ({unknown.size:,} in all)</h3>"
        + paragraph("The probe, and the identity of the gallery that scored best.", "muted")
        + image_rows(rows)
    )


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
