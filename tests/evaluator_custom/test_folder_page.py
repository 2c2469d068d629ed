"""The report on folders of faces: what it says and shows, for few faces and many."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcface_common.protocol.all_pairs import ScoreCounts, fuse
from arcface_common.protocol.folder_figures import FolderFigures
from arcface_common.protocol.gallery_search import search_gallery
from evaluator_custom.report.folder_page import write_folder_report
from tests.helpers import jpeg

KNOWN = 12


def folder_figures(root: Path, *, people: int = 20, images: int = 4, noise: float = 1.0) -> FolderFigures:
    """Faces of some people, of whom the first 12 are known by an image each, and embeddings as of a poor model."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(people), images)
    raw = rng.standard_normal((people, 32))[labels] + noise * rng.standard_normal((labels.size, 32))
    unit = fuse(raw, raw)
    files = [root / f"p{label:02d}" / f"{i}.jpg" for i, label in enumerate(labels)]
    for i, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(i))
    known = (np.arange(labels.size) % images == 0) & (labels < KNOWN)
    counts = ScoreCounts()
    searches = search_gallery(unit[known], labels[known], unit[~known], labels[~known], counts=counts)
    by_mask = [[file for file, take in zip(files, mask, strict=True) if take] for mask in (known, ~known)]
    return FolderFigures("all of them", counts, "not in the gallery", searches, *by_mask)


def written(tmp_path: Path, figures: FolderFigures) -> str:
    write_folder_report(tmp_path / "out" / "page.html", figures, {"model": "a <model>", "gallery": "faces/known"})
    return (tmp_path / "out" / "page.html").read_text()


def test_it_shows_figures_plots_and_the_worst_searches(tmp_path):
    figures = folder_figures(tmp_path / "faces", noise=2.0)
    page = written(tmp_path, figures)
    found = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*")}
    plots = {f"page_files/{name}.png" for name in ("det", "gallery", "ranks", "search")}
    assert set(found) == {"page.html", "page_files"} | plots
    for path in found.values():
        assert path.stat().st_mode & 0o77 == 0
    assert "a &lt;model&gt;" in page and "<model>" not in page
    assert page.count('class="plot"') == 4
    assert "search among no more people than the gallery above holds" in page
    assert f"{figures.identification.tpir_at_fpir[0.1]:.4f}" in page
    assert "TAR@FAR=0.01" not in page  # 804 pairs of different people bear it
    assert "TAR@FAR=0.001: needs 1,000 pairs of different people; there are 780" in page
    assert "TPIR@FPIR=0.01: needs 100 probes of unknowns; there are 32" in page
    searches = figures.searches
    missed = np.flatnonzero(searches.ranks > 1)
    assert missed.size > 1
    assert f"Worst searches ({missed.size} not at rank 1)" in page
    ranks = [int(rank) for rank in re.findall(r"\.jpg: rank (\d+), cosine", page)]
    assert ranks == sorted(searches.ranks[missed].tolist(), reverse=True)[:20]
    assert page.count('alt="its own identity"') == len(ranks)
    cosines = [float(cosine) for cosine in re.findall(r"\.jpg: cosine (-?[\d.]+) with p\d\d", page)]
    assert cosines == sorted(np.round(searches.other_scores[~searches.mated], 3), reverse=True)[:20]


def test_a_perfect_model_has_no_worst_searches(tmp_path):
    page = written(tmp_path, folder_figures(tmp_path / "faces", noise=0.01))
    assert "Worst searches (0 not at rank 1)" in page
    assert "None." in page
    assert "100.00 %" in page


@pytest.mark.parametrize(("people", "plots"), [(KNOWN, ["det", "ranks"]), (14, ["det", "ranks", "search"])])
def test_what_the_probes_do_not_bear_is_not_drawn(tmp_path, people, plots):
    """Without strangers, or with 6 of them, of whom one in ten is less than one."""
    page = written(tmp_path, folder_figures(tmp_path / "faces", people=people))
    assert sorted(path.stem for path in (tmp_path / "out" / "page_files").iterdir()) == plots
    assert "TPIR@FPIR=0.1: needs 10 probes of unknowns" in page


def test_large_photos_do_not_make_a_large_page(tmp_path):
    figures = folder_figures(tmp_path / "faces", noise=2.0)
    small = len(written(tmp_path, figures))
    noise = np.random.default_rng(0).integers(0, 256, (1200, 900, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    for path in figures.gallery:
        path.write_bytes(buffer.getvalue())
    assert len(buffer.getvalue()) > 3_000_000
    assert len(written(tmp_path, figures)) < small + 60 * 168 * 168 * 4
