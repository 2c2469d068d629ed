"""The report: self-contained, complete, and about the right pairs."""

import dataclasses
import io
import stat
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn import metrics

from arcface_common.errors import DataError
from arcface_common.protocol import far_thresholds
from arcface_common.protocol.comparison import Comparison
from arcface_common.protocol.scored_pairs import ScoredPairs
from arcface_common.protocol.verification_statistics import McNemarResult, ProtocolError, roc_curve
from evaluator_custom.report import plots
from evaluator_custom.report.page import write_report
from evaluator_custom.report.set_view import in_words
from tests.evaluator_custom.report_pages import Images, captions, files_below, page_with, some_pairs


def test_page_needs_no_network_and_is_well_formed(tmp_path):
    evaluated = some_pairs()
    page = page_with(tmp_path, evaluated, facts={"model": "a <b> & c", "training data": "digest 5f0e"})
    assert files_below(tmp_path) == ["page.html", "page_files/lfw.png"]
    assert page.open == []
    assert page.sources
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert "://" not in (tmp_path / "page.html").read_text()
    assert {source[1:] for source in page.sources if source.startswith("#")} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert all(page.alts)
    assert ["model", "a <b> & c"] in page.rows  # escaped, and read back
    assert ["training data", "digest 5f0e"] in page.rows
    assert f"{evaluated.result.accuracy:.4f} ± {evaluated.result.accuracy_std:.4f}" in page.text
    with Image.open(tmp_path / "page_files" / "lfw.png") as plot:
        assert plot.size[0] > 1000


def test_worst_pairs_are_the_wrong_ones_in_order(tmp_path):
    evaluated = some_pairs(pairs=600)
    indices = captions(page_with(tmp_path, evaluated))
    wrong = np.flatnonzero(~evaluated.result.correct).tolist()
    for kind, sign in ((False, 1), (True, -1)):
        shown = [i for i in indices if evaluated.is_same[i] == kind]
        expected = sorted(
            (i for i in wrong if evaluated.is_same[i] == kind), key=lambda i: sign * evaluated.distances[i]
        )
        assert len(expected) > 20
        assert shown == expected[:20]
    assert sorted(evaluated.images.read) == sorted(2 * i + side for i in indices for side in (0, 1))


def test_png_images_are_shown_as_such(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (112, 112)).save(buffer, "PNG")
    pngs = dataclasses.replace(some_pairs(), images=[buffer.getvalue()] * 400)
    page = page_with(tmp_path, pngs)
    assert not [s for s in page.sources if s.startswith("data:image/jpeg")]


def test_a_perfect_model_and_pairs_of_one_kind(tmp_path):
    same = np.arange(20) % 2 == 0
    perfect = some_pairs("a", 20, distances=np.where(same, 0.5, 2.0))
    assert perfect.result.accuracy == 1
    alike = ScoredPairs(np.full(20, 0.5), np.ones(20, bool), name="b", images=Images(20))
    page = page_with(tmp_path, perfect, alike)
    assert page.text.count("None.") == 2
    assert not perfect.images.read + alike.images.read
    assert "Not judged: the set has no pairs of different people." in page.text
    [row] = [row for row in page.rows if row[0] == "b"]
    assert row[1:7] == ["20", "–", "–", "–", "–", "–"]
    assert any(text.startswith("– accuracy, interval, ") and text.endswith("different people") for text in page.text)
    # The set that is judged has too few pairs for its TAR, and says so.
    assert any("of a: needs 1,000 pairs of different people in each training part; there are 9" in t for t in page.text)


def test_warnings_stand_above_everything(tmp_path):
    page = page_with(tmp_path, some_pairs(), warnings=["lfw: 3 < 4 images are in the training set"])
    assert page.text.index("lfw: 3 < 4 images are in the training set") < page.text.index("10-fold verification")
    assert "Warning" not in page_with(tmp_path, some_pairs()).text


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("income", ["$20k to $40k", "$40k to $60k"]),
        ("$_$", ["a$_$b", "$^$"]),
        ("path", ["$\\cam1$", "\\frac{1}{"]),
        ("<img src=x onerror=alert(1)>", ["<script>alert(1)</script>", "\"'><svg onload=1>"]),
        ("zero\0", ["a\0b", "c\x1b[31m"]),
        ("lines\n", ["a\nb\r", "c\u2028d"]),
        ("direction", ["\u202eabc", "\u2066x"]),
        ("halves", ["\ud83d", "ok"]),
        ("组", ["男", "女"]),
        ("long " * 50, ["x" * 5000, "y"]),
    ],
)
def test_any_text_is_shown_and_none_is_taken_for_formulas_or_html(tmp_path, column, values):
    attributes = {column: [values[i // 2 % 2] for i in range(200)]}
    page = page_with(tmp_path, some_pairs(attributes=attributes), facts={"model": values[0]}, baseline_name=values[1])
    written = (tmp_path / "page.html").read_text()
    assert page.open == []
    assert "<script" not in written and "<img src=x" not in written and "<svg" not in written
    assert all(c.isprintable() or c == "\n" for c in written)
    assert max(map(len, page.rows[-1] if page.rows else [""])) < 6000
    labels = [row[0] for row in page.rows if len(row) == 5 and row[1] == "100"]
    assert len(labels) == 2
    assert all(len(label) <= 80 for label in labels)


def test_a_dollar_sign_is_drawn_as_one():
    """The label is as wide as its characters: mathematics would leave out the dollars."""
    figure = Figure()
    with matplotlib.rc_context(plots._STYLE):
        text = figure.text(0, 0, "$a$")
        plain = figure.text(0, 0, "Sa")
    assert not text.get_parse_math()
    renderer = FigureCanvasAgg(figure).get_renderer()
    assert text.get_window_extent(renderer).width > plain.get_window_extent(renderer).width


def test_the_axis_of_the_roc_is_in_plain_numbers():
    figure = Figure()
    with matplotlib.rc_context(plots._STYLE):
        axes = figure.subplots()
        plots._roc(axes, {"lfw": some_pairs()})
        FigureCanvasAgg(figure).draw()
    labels = [label.get_text() for label in axes.get_xticklabels(which="both") if label.get_text()]
    assert {"0.1", "1"} <= set(labels)
    assert all(float(label) > 0 for label in labels)


def test_a_set_whose_name_is_no_file_name_gets_its_plot_beside_the_page(tmp_path):
    page_with(tmp_path, some_pairs("../a/b"))
    assert files_below(tmp_path) == ["page.html", "page_files/..%2Fa%2Fb.png"]


def test_a_report_replaces_an_earlier_one_with_all_its_plots(tmp_path):
    page_with(tmp_path, some_pairs("lfw"), some_pairs("cfp_fp"), baseline=[some_pairs("lfw", seed=1)])
    (tmp_path / "page_files" / "left-by-a-killed-one.png").write_bytes(b"")
    (tmp_path / "page-2_files").mkdir()
    (tmp_path / "page-2_files" / "mine.png").write_bytes(b"")
    page = page_with(tmp_path, some_pairs("agedb_30"))
    assert files_below(tmp_path) == ["page-2_files/mine.png", "page.html", "page_files/agedb_30.png"]
    assert "agedb_30" in page.text and "lfw" not in page.text
    few = ScoredPairs(np.ones(4), np.ones(4, bool), name="few")
    page_with(tmp_path, few)
    assert files_below(tmp_path) == ["page-2_files/mine.png", "page.html"]


@pytest.mark.parametrize("case", ["file", "folder", "link"])
def test_what_is_no_report_is_not_replaced_by_one(tmp_path, case):
    place, own = tmp_path / "page_files", tmp_path / "own"
    own.mkdir()
    (own / "photo.png").write_bytes(b"mine")
    if case == "file":
        place.write_bytes(b"mine")
    elif case == "folder":
        place.mkdir()
        (place / "notes.txt").write_bytes(b"mine")
    else:
        place.symlink_to(own)
    before = files_below(tmp_path)
    with pytest.raises(DataError, match=r"page_files: expected nothing, or the plots of an earlier report"):
        page_with(tmp_path, some_pairs())
    assert files_below(tmp_path) == before


def test_only_the_owner_may_read_what_shows_faces(tmp_path):
    folder = tmp_path / "made" / "reports"
    write_report(folder / "page.html", [some_pairs()], {"model": "m"})
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "page_files")} == {0o700}
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in files_below(folder)} == {0o600}


def test_matplotlib_and_jinja_are_only_imported_to_write():
    code = "import sys, evaluator_custom.report.page; sys.exit(bool({'matplotlib', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_rates_that_the_set_cannot_tell_are_dashes(tmp_path):
    page = page_with(tmp_path, some_pairs())
    [supported] = [row for row in page.rows if row[0] == "1e-2 = 1 %"]
    assert "–" not in supported
    assert supported[4] == "1 of 100 pairs"
    assert ["1e-6 = 0.0001 %", "–", "–", "–", "needs 1,000,000 pairs", "–"] in page.rows
    text = " ".join(page.text)
    assert "No threshold can be recommended for a false accept rate of 0.1 %: that takes at least 1,000 pairs" in text
    assert "This set has 100 and 100." in text


def test_advice_can_be_acted_on(tmp_path):
    evaluated = some_pairs(pairs=6000)
    found = far_thresholds.recommend(evaluated.distances, evaluated.is_same, 1e-3)
    [advice] = [text for text in page_with(tmp_path, evaluated).text if text.startswith("To accept at most 0.1 %")]
    assert f"below {found.threshold:.3f}, that is, their cosine above {found.cosine:.4f}" in advice
    assert "3 of 3,000 pairs" in advice
    assert "at least 30,000 pairs of different people" in advice


def test_comparison_shows_what_one_model_alone_gets_right(tmp_path):
    own = some_pairs(pairs=400)
    noise = np.random.default_rng(1).normal(0, 0.3, 400)
    other = some_pairs(pairs=400, distances=np.clip(own.distances + noise, 0, 4))
    page = page_with(tmp_path, own, some_pairs("agedb_30"), baseline=[other], baseline_name="last <week>")
    plots_ = [f"page_files/{name}.png" for name in ("agedb_30", "comparison-lfw", "lfw")]
    assert files_below(tmp_path) == ["page.html", *plots_]
    assert "The baseline is last <week>." in page.text
    right, other_right = own.result.correct, other.result.correct
    alone, other_alone = np.flatnonzero(right & ~other_right), np.flatnonzero(other_right & ~right)
    difference = f"{own.result.accuracy - other.result.accuracy:+.4f}"
    [row] = [row for row in page.rows if row[0] == "lfw" and difference in row]
    assert row[4:6] == [str(len(alone)), str(len(other_alone))]
    assert any(row[0] == "agedb_30" and row[2:] == ["–"] * 5 for row in page.rows)
    captions = [text for text in page.text if ", baseline " in text and text.startswith("pair ")]
    assert len(captions) == min(10, len(alone)) + min(10, len(other_alone)) > 10
    for caption in captions[: min(10, len(alone))]:
        index = int(caption.split()[1].rstrip(","))
        kind = "one person" if own.is_same[index] else "two people"
        assert index in alone
        assert caption == f"pair {index}, {kind}: {own.distances[index]:.3f}, baseline {other.distances[index]:.3f}"
    assert {int(c.split()[1].rstrip(",")) for c in captions[min(10, len(alone)) :]} <= set(other_alone.tolist())
    assert not other.images.read


def test_baseline_of_other_pairs_is_an_error(tmp_path):
    with pytest.raises(ProtocolError, match="lfw: expected the baseline's results on the same 200 pairs"):
        page_with(tmp_path, some_pairs(), baseline=[some_pairs(pairs=100)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (McNemarResult(0, 0, 1.0), "judge every pair alike"),
        (McNemarResult(15, 6, 0.078), "with a probability of 0.078 (McNemar's exact test): no significant"),
        (
            McNemarResult(40, 6, 1e-7),
            "with a probability of < 0.0001 (McNemar's exact test): this model is better",
        ),
        (McNemarResult(900, 1200, 6.7e-11), "(McNemar's exact test): the baseline is better"),
    ],
)
def test_mcnemar_in_words(test, words):
    assert words in in_words(Comparison(0.0, test))


def test_slices_are_judged_at_the_threshold_of_the_whole_set(tmp_path):
    rng = np.random.default_rng(5)
    glasses = rng.choice(["yes", "no", "rare", ""], 2000, p=[0.4, 0.4, 0.04, 0.16])
    attributes = {"glasses": glasses.tolist(), "unknown": [""] * 2000, "id": [str(i // 20) for i in range(2000)]}
    evaluated = some_pairs(pairs=2000, attributes=attributes)
    page = page_with(tmp_path, evaluated)
    accepted = evaluated.distances < evaluated.result.threshold
    figures = {}
    for value in ("yes", "no", "rare"):
        own = glasses == value
        confusion = metrics.confusion_matrix(evaluated.is_same[own], accepted[own])
        rates = confusion / confusion.sum(axis=1, keepdims=True)
        figures[value] = (np.trace(confusion) / own.sum(), rates[1, 1], rates[0, 1])
        label = "rare (few pairs)" if value == "rare" else value
        assert [label, f"{own.sum():,}", *(f"{figure:.4f}" for figure in figures[value])] in page.rows
    gaps = np.ptp(list(figures.values()), axis=0)
    [foot] = [row for row in page.rows if row[0] == "gap, best to worst" and row[-1] == f"{gaps[2]:.4f}"]
    assert foot[-3:] == [f"{gap:.4f}" for gap in gaps]
    assert "By glasses" in page.text
    assert "By unknown" not in page.text
    assert "60 smaller groups are not shown." in page.text  # of 100 values of id


def test_card_says_what_is_known_about_groups(tmp_path):
    assert "without attributes" in " ".join(page_with(tmp_path, some_pairs()).text)
    with_groups = some_pairs(attributes={"age": ["old", "young"] * 100})
    assert "without attributes" not in " ".join(page_with(tmp_path, with_groups).text)


def test_a_curve_of_many_pairs_is_drawn_by_few_points():
    evaluated = some_pairs(pairs=200_000)
    curve = roc_curve(evaluated.distances, evaluated.is_same)
    far, tar = plots._outline(curve, 5e-6)
    assert far.size < 7000 < curve.far.size
    rates = np.unique(np.maximum(curve.far, 5e-6))
    drawn, exact = (y[np.searchsorted(x, rates, side="right") - 1] for x, y in ((far, tar), (curve.far, curve.tar)))
    assert np.abs(drawn - exact).max() < 2 / plots._CELLS
