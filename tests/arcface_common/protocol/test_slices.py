"""Figures by slice at one threshold, and the comparison of two models on the same pairs."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from arcface_common.protocol.comparison import compare
from arcface_common.protocol.scored_pairs import ScoredPairs
from arcface_common.protocol.slices import gap, slice_figures
from arcface_common.protocol.verification_statistics import ProtocolError


def _pairs(seed, spread=0.5, count=300):
    """Distances of pairs that overlap, and who is who."""
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.5
    distances = np.clip(np.where(same, rng.normal(1.0, spread, count), rng.normal(1.8, spread, count)), 0, 4)
    return distances, same, rng.uniform(5, 25, count)


def test_figures_are_those_of_each_slices_confusion_matrix():
    distances, same, _ = _pairs(0)
    groups = np.random.default_rng(1).choice(["x", "y", "z", ""], 300, p=[0.5, 0.3, 0.19, 0.01])
    found = slice_figures(distances, same, 1.4, {"group": groups.tolist()})
    assert [s.value for s in found] == ["x", "y", "z"]
    for s in found:
        own = groups == s.value
        (true_no, false_yes), (false_no, true_yes) = confusion_matrix(same[own], distances[own] < 1.4)
        assert s.pairs == own.sum()
        assert s.accuracy == pytest.approx((true_no + true_yes) / own.sum())
        assert s.tar == pytest.approx(true_yes / (true_yes + false_no))
        assert s.far == pytest.approx(false_yes / (true_no + false_yes))
    accuracies = [s.accuracy for s in found]
    assert gap(found, "group", "accuracy") == pytest.approx(np.ptp(accuracies))


def test_rates_of_few_pairs_are_not_known_and_gaps_want_two_slices():
    same = np.array([True] * 12 + [False] * 12 + [True] * 9 + [False] * 30)
    values = ["a"] * 24 + ["b"] * 9 + ["c"] * 30
    found = slice_figures(np.linspace(0, 2, 63), same, 1.0, {"group": values, "all": ["one"] * 63})
    by_value = {s.value: s for s in found}
    assert (by_value["b"].accuracy, by_value["b"].tar, by_value["b"].far) == (None, None, None)
    assert by_value["c"].tar is None
    assert by_value["c"].accuracy is not None
    assert gap(found, "group", "tar") is None
    assert gap(found, "group", "far") == pytest.approx(abs(by_value["a"].far - by_value["c"].far))
    # c holds one kind of pairs alone, whose accuracy is not to be set beside a's.
    assert gap(found, "group", "accuracy") is None
    assert gap(found, "all", "accuracy") is None
    assert gap(found, "age", "far") is None


def test_scored_pairs_survive_being_an_array():
    pairs = ScoredPairs(*_pairs(2), {"group": ["x"] * 150 + ["y"] * 150})
    again = ScoredPairs.from_array(pairs.to_array(), attributes=pairs.attributes, folds=pairs.folds)
    assert again.result == pairs.result
    assert again.slices == pairs.slices
    assert pairs.gap("far", "group") == gap(pairs.slices, "group", "far")
    assert pairs.roc is pairs.roc and pairs.result is pairs.result  # worked out once


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("distances", [5.0, *[1.0] * 11], "lie in 0..4. Received: .*5.0.* at pairs 0"),
        ("distances", [np.inf, *[1.0] * 11], "finite distances. Received: NaN or infinity at pairs 0"),
        ("is_same", [True] * 11, r"is_same of shape \[12\]. Received: shape \(11,\)"),
        ("is_same", [2] * 12, "is_same of bool or of 0 and 1"),
        ("norms", [1.0], r"norms of shape \[12\]"),
        ("attributes", {"age": ["old"] * 11}, "lfw: expected attribute 'age' of 12 pairs. Received: 11"),
        ("images", [b""] * 12, "lfw: expected images, 2 a pair, of 12 pairs. Received: 6"),
        ("files", ["a"], "lfw: expected files of 12 pairs. Received: 1"),
        ("folds", "none", "folds of .*. Received: 'none'"),
    ],
)
def test_what_does_not_fit_the_pairs_is_refused_at_once(field, value, message):
    fields = {"distances": [1.0] * 12, "is_same": [True, False] * 6, "name": "lfw"}
    assert ScoredPairs(**fields).images == ()
    with pytest.raises(ProtocolError, match=message):
        ScoredPairs(**{**fields, field: value})


def test_too_few_pairs_have_no_figures():
    distances, same, norms = _pairs(3, count=9)
    pairs = ScoredPairs(distances, same, norms, {"group": ["x"] * 9})
    assert pairs.figure("accuracy") is None
    assert pairs.figure("pairs") == 9
    assert pairs.gap("far", "group") is None
    assert pairs.correct.size == 0
    assert compare(pairs, pairs) is None
    assert compare(ScoredPairs(*_pairs(3)), None) is None


def test_noise_is_no_change_and_a_real_one_is():
    distances, same, norms = _pairs(4, spread=0.3)
    pairs = ScoredPairs(distances, same, norms)
    nudged = ScoredPairs(np.clip(distances + np.random.default_rng(5).normal(0, 0.03, 300), 0, 4), same, norms)
    worse = ScoredPairs(np.clip(distances + np.random.default_rng(6).normal(0, 0.9, 300), 0, 4), same, norms)
    noise, loss = compare(nudged, pairs), compare(worse, pairs)
    assert noise.difference != 0
    assert noise.mcnemar.p_value > 0.05
    assert noise.significant == 0
    assert loss.significant == loss.difference == pytest.approx(worse.accuracy - pairs.accuracy)
    assert loss.difference < -0.05
    better, only = pairs.correct, pairs.correct & ~worse.correct
    disagreeing = int(np.sum(better != worse.correct))
    assert loss.mcnemar.p_value == pytest.approx(binomtest(int(only.sum()), disagreeing).pvalue)
    assert compare(pairs, worse).significant == pytest.approx(-loss.difference)


def test_a_distance_on_the_threshold_is_no_accept():
    same = np.arange(40) < 20
    (found,) = slice_figures(np.full(40, 1.4), same, 1.4, {"group": ["x"] * 40})
    assert (found.accuracy, found.tar, found.far) == (0.5, 0, 0)
    (found,) = slice_figures(np.full(40, np.nextafter(1.4, 0)), same, 1.4, {"group": ["x"] * 40})
    assert (found.accuracy, found.tar, found.far) == (0.5, 1, 1)


@pytest.mark.parametrize(("count", "known"), [(9, False), (10, True)])
def test_ten_pairs_are_enough(count, known):
    (found,) = slice_figures(np.zeros(2 * count), np.arange(2 * count) < count, 1.0, {"group": ["x"] * 2 * count})
    assert (found.tar == 1.0, found.far == 1.0) == (known, known)
    (found,) = slice_figures(np.zeros(count), np.ones(count, bool), 1.0, {"group": ["x"] * count})
    assert (found.accuracy == 1.0) == known
