"""1:1 and 1:N figures against scikit-learn and plain counting over all pairs.

Embeddings of eighths, with few values: their products are exact in float32 in whatever order they are summed, and
scores repeat, so ties are everywhere and both sides must agree to the last digit.
"""

import itertools
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score, roc_curve

from arcface_common.protocol.all_pairs import ALL_PAIRS_FAR_TARGETS, ScoreCounts, count_all_pairs, fuse
from arcface_common.protocol.gallery_search import FPIR_TARGETS, RANKS, search_gallery
from arcface_common.protocol.verification_statistics import ProtocolError, tar_at_far
from arcface_common.protocol.verification_statistics import roc_curve as distance_curve

MB = 2**20


def eighths(count: int, people: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of 6 eighths between -3/8 and 3/8, of length below 1, near one of some centres; and whose they are."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, people, count)
    centres = rng.integers(-2, 3, (people, 6))
    return ((centres[labels] + rng.integers(-1, 2, (count, 6))) / 8).astype(np.float32), labels


def gaussian(count: int, people: int, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings of 64 values as of a model that tells people apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, people, count)
    raw = rng.standard_normal((people, 64))[labels] + noise * rng.standard_normal((count, 64))
    return fuse(raw, raw), labels


def brute_force(unit: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score and truth of each pair, one by one."""
    pairs = list(itertools.combinations(range(len(unit)), 2))
    scores = np.array([unit[a].astype(np.float64) @ unit[b].astype(np.float64) for a, b in pairs])
    return scores, np.array([labels[a] == labels[b] for a, b in pairs])


@given(count=st.integers(2, 60), people=st.integers(1, 8), seed=st.integers(0, 2**32 - 1), block=st.integers(1, 70))
@settings(deadline=None, max_examples=60)
def test_all_pairs_are_those_of_brute_force(count, people, seed, block):
    unit, labels = eighths(count, people, seed)
    figures = count_all_pairs(unit, labels, block=block).figures()
    scores, same = brute_force(unit, labels)
    assert (figures.genuine, figures.impostor) == (same.sum(), (~same).sum())
    if same.all() or not same.any():
        assert figures.auc is figures.eer is None
        assert set(figures.tar_at_far.values()) == {None}
        return
    assert figures.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    assert figures.eer == pytest.approx(distance_curve(2 - 2 * scores, same).eer(), abs=1e-12)
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    for target in ALL_PAIRS_FAR_TARGETS:
        if 1 / target > figures.impostor:
            assert figures.tar_at_far[target] is None and figures.threshold_at_far[target] is None
            continue
        met = np.flatnonzero(far <= target)[-1]
        assert figures.tar_at_far[target] == tar[met]
        # The first point of scikit-learn's curve accepts nothing, above all scores.
        assert figures.threshold_at_far[target] == (thresholds[met] if met else None)


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_all_pairs_of_real_valued_embeddings_agree_with_the_protocols_statistics(noise):
    unit, labels = gaussian(400, 40, seed=1, noise=noise)
    figures = count_all_pairs(unit, labels, block=128).figures()
    a, b = np.triu_indices(400, 1)
    distances = 2 - 2 * np.sum(unit[a].astype(np.float64) * unit[b], axis=1)
    same = labels[a] == labels[b]
    exact = tar_at_far(distances, same, ALL_PAIRS_FAR_TARGETS)
    assert [rate is None for rate in figures.tar_at_far.values()] == [False] * 4 + [True] * 2  # 77,800 impostors
    for target, rate in figures.tar_at_far.items():
        if rate is not None:
            assert rate == pytest.approx(exact[target], abs=1.01 / figures.genuine)  # a pair within a step
            threshold = figures.threshold_at_far[target]
            assert np.mean(distances[~same] < 2 - 2 * threshold - 1e-5) <= target
    assert figures.auc == pytest.approx(roc_auc_score(same, -distances), abs=1e-6)
    assert 0.5 < figures.auc < 1


def test_blocks_of_any_size_give_the_same_figures():
    unit, labels = eighths(300, 30, seed=2)
    expected = count_all_pairs(unit, labels, block=300).figures()
    for block in (1, 7, 64, 299, 1000):
        assert count_all_pairs(unit, labels, block=block).figures() == expected
    for template in ("mean", "best"):
        once = search_gallery(unit[:100], labels[:100], unit[100:], labels[100:], template=template).figures()
        for cells in (1, 1000, 3333):
            figures = search_gallery(
                unit[:100], labels[:100], unit[100:], labels[100:], template=template, cells=cells
            ).figures()
            assert figures == once


def test_order_of_the_images_does_not_matter():
    unit, labels = eighths(200, 20, seed=3)
    order = np.random.default_rng(0).permutation(200)
    assert (
        count_all_pairs(unit[order], labels[order], block=32).figures()
        == count_all_pairs(unit, labels, block=32).figures()
    )


def test_scores_that_rounding_brings_above_one_are_counted():
    counts = ScoreCounts()
    counts.add(np.array([[1.0000002, -1.0000002]], np.float32), np.array([[True, False]]))
    figures = counts.figures()
    assert (figures.genuine, figures.impostor, figures.auc, figures.eer) == (1, 1, 1.0, 0.0)


@pytest.mark.parametrize("step", [0.5, -0.25, 0.0])
def test_a_step_holds_the_scores_from_it_on(step):
    counts = ScoreCounts()
    counts.add(np.array([[step, np.nextafter(np.float32(step), -1)]], np.float32), np.array([[True, False]]))
    assert counts.figures().auc == 1  # a hair below is another step


def test_a_far_that_even_the_highest_step_exceeds_has_a_tar_of_0():
    unit = np.tile(np.array([[1.0, 0.0]], np.float32), (40, 1))
    figures = count_all_pairs(unit, np.arange(40) // 2).figures()
    assert figures.tar_at_far == {0.1: 0.0, 0.01: 0.0, 0.001: None, 1e-4: None, 1e-5: None, 1e-6: None}
    assert set(figures.threshold_at_far.values()) == {None}
    assert figures.auc == 0.5


def searched(gallery, gallery_labels, probes, probe_labels, template):
    """Rank and own score of each mated probe, and best score of the others, one by one."""
    ranks, own, unknown = [], [], []
    for probe, label in zip(probes, probe_labels, strict=True):
        scores = {}
        for identity in sorted(set(gallery_labels)):
            rows = gallery[gallery_labels == identity].astype(np.float64)
            if template == "mean":
                mean = rows.mean(axis=0)
                rows = [(mean / (np.linalg.norm(mean) or 1)).astype(np.float32)]
            scores[identity] = max(np.float32(row @ probe) for row in rows)
        if label in scores:
            ranks.append(sum(score >= scores[label] for score in scores.values()))
            own.append(scores[label])
        else:
            unknown.append(max(scores.values()))
    return np.array(ranks), np.array(own), np.array(unknown)


@given(seed=st.integers(0, 2**32 - 1), cells=st.integers(1, 500), known=st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_search_is_that_of_brute_force(seed, cells, known):
    unit, labels = eighths(120, 12, seed)
    gallery = (np.arange(120) < 30) & (labels < known)
    if not gallery.any():
        return
    given_ = unit[gallery], labels[gallery], unit[30:], labels[30:]
    counts = ScoreCounts()
    figures = search_gallery(*given_, template="best", counts=counts, cells=cells).figures()
    ranks, own, unknown = searched(*given_, "best")
    identities = len(set(labels[gallery]))
    assert (figures.identities, figures.mated, figures.nonmated) == (identities, ranks.size, unknown.size)
    pairs = counts.figures()
    assert (pairs.genuine, pairs.impostor) == (ranks.size, 90 * identities - ranks.size)
    for k in RANKS:
        assert figures.rank_rates[k] == (np.mean(ranks <= k) if k < identities and ranks.size else None)
    for target in FPIR_TARGETS:
        rate, threshold = figures.tpir_at_fpir[target], figures.threshold_at_fpir[target]
        if unknown.size < 1 / target or not ranks.size:
            assert rate is threshold is None
            continue
        met = [t for t in {-2.0, *unknown} if np.mean(unknown > t) <= target]
        assert threshold == min(met)
        assert rate == max(np.mean((ranks == 1) & (own > t)) for t in met)


@pytest.mark.parametrize("template", ["mean", "best"])
def test_search_with_real_valued_embeddings(template):
    unit, labels = gaussian(900, 60, seed=4, noise=2.0)
    gallery = (np.arange(900) < 300) & (labels < 40)
    probes = np.arange(900) >= 300
    given_ = unit[gallery], labels[gallery], unit[probes], labels[probes]
    figures = search_gallery(*given_, template=template).figures()
    ranks, own, unknown = searched(*given_, template)
    assert figures.rank_rates == {k: pytest.approx(np.mean(ranks <= k), abs=0.003) for k in RANKS}
    assert 0.3 < figures.rank_rates[1] < 0.999
    threshold = np.sort(unknown)[::-1][unknown.size // 10]
    expected = np.mean((ranks == 1) & (own > threshold))
    assert figures.tpir_at_fpir[0.1] == pytest.approx(expected, abs=0.003)
    assert figures.threshold_at_fpir[0.1] == pytest.approx(threshold, abs=1e-5)


def test_all_pairs_of_single_images_are_a_search_without_templates():
    unit, labels = eighths(80, 80, seed=5)
    counts = ScoreCounts()
    search_gallery(unit[:40], np.arange(40), unit[40:], labels[40:] % 40, counts=counts, template="best")
    pairs = counts.figures()
    scores = (unit[40:].astype(np.float64) @ unit[:40].T).ravel()
    same = (labels[40:, np.newaxis] % 40 == np.arange(40)).ravel()
    assert pairs.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-12)


def test_an_identity_of_the_same_score_is_no_hit():
    x = np.eye(2, dtype=np.float32)
    figures = search_gallery(x[[0, 0, 1]], np.array([0, 1, 2]), x[[0, 1]], np.array([0, 2])).figures()
    assert figures.rank_rates == {1: 0.5, 5: None}


def test_the_mean_template_is_normalised():
    x = fuse(*[[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]] * 2)
    counts = ScoreCounts()
    search_gallery(x[:2], np.array([7, 7]), x[2:], np.array([7]), counts=counts)
    search_gallery(x[:1], np.array([7]), x[1:2], np.array([8]), counts=counts)
    figures = counts.figures()
    assert (figures.genuine, figures.impostor, figures.auc) == (1, 1, 1.0)


@given(
    arrays.arrays(np.float32, (3, 4), elements=st.floats(-4, 4, width=32)),
    arrays.arrays(np.float32, (3, 4), elements=st.floats(-4, 4, width=32)),
)
@settings(deadline=None)
def test_fused_embeddings_are_the_sums_of_length_one(raw, mirrored):
    total = raw.astype(np.float64) + mirrored
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(fuse(raw, mirrored) * lengths, total, atol=1e-5)
    assert fuse(raw, mirrored).dtype == np.float32


def test_memory_does_not_grow_with_the_pairs():
    """The second set's 18 million pairs would be 216 MB of scores and integers; a block of 256 x 256 is 1 MB."""
    peaks = []
    for count in (3000, 6000):
        unit, labels = gaussian(count, count // 4, seed=6)
        tracemalloc.start()
        count_all_pairs(unit, labels, block=256)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert abs(peaks[1] - peaks[0]) < 16 * MB
    assert max(peaks) < 160 * MB


def test_what_is_no_embedding_is_refused():
    unit, labels = eighths(10, 2, seed=7)
    with pytest.raises(ProtocolError, match=r"N whole numbers .* Received: \[10, 6\], and int64 \[9\]"):
        count_all_pairs(unit, labels[:9])
    with pytest.raises(ProtocolError, match=r"Received: \[0, 6\]"):
        count_all_pairs(unit[:0], labels[:0])
    with pytest.raises(ProtocolError, match="and float64"):
        count_all_pairs(unit, labels / 2)
    with pytest.raises(ProtocolError, match="Expected probes of 6 values.* Received: 5"):
        search_gallery(unit, labels, unit[:, :5], labels)
    bad = unit.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ProtocolError, match="unit embeddings of images. Received: one of length nan .* at 3"):
        count_all_pairs(bad, labels)
    bad[3] = 1
    with pytest.raises(ProtocolError, match="unit embeddings of probes. Received: one of length 2.4"):
        search_gallery(unit, labels, bad, labels)


def test_figures_are_json():
    unit, labels = eighths(100, 10, seed=8)
    values = json.loads(json.dumps(count_all_pairs(unit, labels).figures().to_dict()))
    assert values["tar_at_far"].keys() == {"0.1", "0.01", "0.001", "0.0001", "1e-05", "1e-06"}
    values = json.loads(json.dumps(search_gallery(unit[:50], labels[:50], unit[50:], labels[50:]).figures().to_dict()))
    assert values["rank_rates"].keys() == {"1", "5"}
    assert values["mated"] + values["nonmated"] == 50


@given(seed=st.integers(0, 2**32 - 1), known=st.integers(2, 12))
@settings(deadline=None, max_examples=30)
def test_the_curves_are_those_of_brute_force(seed, known):
    unit, labels = eighths(120, 12, seed)
    gallery = (np.arange(120) < 30) & (labels < known)
    if not gallery.any():
        return
    given_ = unit[gallery], labels[gallery], unit[30:], labels[30:]
    searches = search_gallery(*given_, template="best", cells=200)
    ranks, own, unknown = searched(*given_, "best")
    identities = len(set(labels[gallery]))
    np.testing.assert_array_equal(searches.ranks[searches.mated], ranks)
    np.testing.assert_array_equal(searches.own_scores[searches.mated], own)
    np.testing.assert_array_equal(searches.other_scores[~searches.mated], unknown)
    if ranks.size:
        expected = [np.mean(ranks <= k) for k in range(1, identities + 1)]
        np.testing.assert_allclose(searches.rank_rates(), expected, rtol=1e-12)
    fpir, fnir = searches.error_rates()
    if not ranks.size or not unknown.size:
        assert fpir.size == fnir.size == 0
        return
    thresholds = [*sorted(unknown, reverse=True), -np.inf]
    np.testing.assert_allclose(fpir, [np.mean(unknown > t) for t in thresholds], rtol=1e-12)
    missed = [1 - np.mean((ranks == 1) & (own > t)) for t in thresholds]
    np.testing.assert_allclose(fnir, missed, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("template", ["mean", "best"])
def test_false_positives_of_smaller_galleries_are_the_mean_over_all_of_them(template):
    """Every choice of n of 7 identities is searched by itself."""
    unit, labels = gaussian(200, 20, seed=9, noise=3.0)
    gallery = (np.arange(200) < 100) & (labels < 7)
    probes = (np.arange(200) >= 100) & (labels >= 7)
    searches = search_gallery(unit[gallery], labels[gallery], unit[probes], labels[probes], template=template)
    thresholds = np.quantile(searches.other_scores, [0.5, 0.9])
    found = searches.false_positive_rates(thresholds.tolist(), range(1, 8))
    for size in range(1, 8):
        best = []
        for people in itertools.combinations(range(7), size):
            some = gallery & np.isin(labels, people)
            smaller = search_gallery(unit[some], labels[some], unit[probes], labels[probes], template=template)
            best.append(smaller.other_scores)
        expected = [np.mean(np.array(best) > t) for t in thresholds]
        np.testing.assert_allclose(found[:, size - 1], expected, rtol=1e-9)
    assert 0 < found[0, 0] < found[0, -1]


def test_who_was_taken_for_whom():
    x = np.eye(3, dtype=np.float32)
    gallery, labels = x[[0, 0, 1, 2]], np.array([5, 5, 7, 9])
    searches = search_gallery(gallery, labels, x[[1, 0, 2]], np.array([5, 5, 8]))
    assert searches.mated.tolist() == [True, True, False]
    assert searches.ranks.tolist() == [3, 1, 0]  # nothing in common with its own, which ties with another
    assert searches.gallery.labels[searches.others].tolist() == [7, 7, 9]
    assert searches.gallery.first_images.tolist() == [0, 2, 3]


def test_the_curve_of_counted_pairs_is_scikit_learns():
    unit, labels = eighths(60, 6, seed=10)
    curve = count_all_pairs(unit, labels, block=32).curve()
    scores, same = brute_force(unit, labels)
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.far, far, rtol=1e-12)
    np.testing.assert_allclose(curve.tar, tar, rtol=1e-12)
