"""Figures that the pairs can't bear are None with a reason, and all others keep their digits."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from arcface_common.protocol import support
from arcface_common.protocol.folds import cut_folds
from arcface_common.protocol.insightface import evaluate
from arcface_common.protocol.verification_statistics import allowed
from tests.arcface_common.protocol.published_protocol import assert_equal, faces, published, table_sweep

RATES = {"tar", "tar_std", "far", "tar_threshold"}


def test_a_set_that_bears_every_figure_has_no_reason():
    distances, same = faces(30_000)
    result = evaluate(distances, same)
    assert {name for name in result.undefined if "tar_at_far" not in name} == set()
    assert result.warnings == ()
    # 15,000 pairs of different people reach 1e-4, and not 1e-5.
    assert set(result.undefined) == {"tar_at_far 1e-05", "tar_at_far 1e-06"}
    assert result.undefined["tar_at_far 1e-05"] == "needs 100,000 pairs of different people; there are 15,000"
    assert result.tar_at_far[1e-4] is not None
    for name in support.ALL:
        assert getattr(result, name) is not None


@pytest.mark.parametrize("kind", [True, False])
def test_a_set_of_one_kind_has_no_figure_but_xnorm(kind):
    distances, _ = faces(50)
    result = evaluate(distances, np.full(50, kind), np.full(50, 7.0))
    missing = "the set has no pairs of different people" if kind else "the set has no pairs of one person"
    assert {getattr(result, name) for name in support.ALL} == {None}
    assert set(result.tar_at_far.values()) == {None}
    assert set(result.undefined.values()) == {missing}
    assert (result.correct, result.accuracies, result.thresholds) == (None, (), ())
    assert (result.xnorm, result.pairs) == (7.0, 50)
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values["accuracy"] is values["wrong_pairs"] is values["accuracy_ci"] is None
    assert values["undefined"]["tar"] == missing


def test_few_pairs():
    distances, same = faces(9, block=1)
    result = evaluate(distances, same)
    assert result.undefined["accuracy"] == "too few for the protocol: needs 10 pairs; there are 9"
    distances, same = faces(10, block=1)
    assert evaluate(distances, same).accuracy is not None
    assert evaluate([], []).undefined["auc"] == "too few for the protocol: needs 10 pairs; there are 0"


def test_tar_takes_as_many_impostors_as_its_rate_asks_in_each_training_part():
    # 1,112 of different people in 2,224 pairs: training parts of 1,000 and 1,001.
    distances, same = faces(2224, block=1)
    result = evaluate(distances, same)
    assert not RATES & set(result.undefined)
    assert_equal(result, published(distances, same, sweep=table_sweep))
    distances, same = faces(2220, block=1)
    result = evaluate(distances, same)
    reason = "needs 1,000 pairs of different people in each training part; there are 999"
    assert {name: result.undefined[name] for name in RATES} == dict.fromkeys(RATES, reason)
    assert (result.tar, result.tar_std, result.far, result.tar_threshold) == (None, None, None, None)
    assert result.accuracy is not None
    assert result.tar_1e2 == np.mean(published(distances, same, far_target=1e-2, sweep=table_sweep).tar)
    # The whole set has the 1,000 that one rate over all pairs needs.
    assert result.tar_at_far[1e-3] is not None
    distances, same = faces(220, block=1)
    assert evaluate(distances, same).undefined["tar_1e2"].startswith("needs 100 pairs of different people in each")


def test_a_set_sorted_by_kind_keeps_its_accuracy_and_says_what_its_folds_lack():
    distances, same = faces(6000)
    order = np.argsort(~same, kind="stable")
    result = evaluate(distances[order], same[order])
    theirs = published(distances[order], same[order], sweep=table_sweep)
    assert result.accuracies == tuple(theirs.accuracy)
    assert result.undefined["tar"] == "no pairs of one person in folds 6, 7, 8, 9, 10"
    assert result.undefined["tar_1e2"] == "no pairs of one person in folds 6, 7, 8, 9, 10"
    assert result.undefined["far"] == "no pairs of different people in folds 1, 2, 3, 4, 5"
    assert (result.tar, result.far, result.tar_1e2) == (None, None, None)
    (warning,) = result.warnings
    assert warning == (
        "no pairs of one person in folds 6, 7, 8, 9, 10 and no pairs of different people in folds 1, 2, 3, 4, 5. "
        f"InsightFace's script counts their rates as 0: TAR {np.mean(theirs.tar):.4f}, FAR {np.mean(theirs.far):.4f}. "
        "Stratified folds hold each kind evenly: evaluation.folds=stratified in a run, --folds stratified in evaluate."
    )


def test_stratified_folds_undo_sorting_by_kind():
    distances, same = faces(6000)
    order = np.argsort(~same, kind="stable")
    result = evaluate(distances[order], same[order], cut="stratified")
    assert result.folds == "stratified"
    assert result.warnings == ()
    # LFW's own order has 300 of each kind in each fold, which is what stratified folds of the sorted set have.
    contiguous = evaluate(distances, same)
    assert (result.tar, result.accuracy, result.far) == (contiguous.tar, contiguous.accuracy, contiguous.far)
    assert evaluate(distances, same, cut="stratified").correct.tolist() == contiguous.correct.tolist()


@given(st.lists(st.booleans(), min_size=20, max_size=200).filter(lambda x: 10 <= sum(x) <= len(x) - 10))
@settings(max_examples=40, deadline=None)
def test_stratified_folds_are_contiguous_in_each_kind_as_scikit_learns(flags):
    same = np.array(flags)
    fold_of = cut_folds(same, 10, "stratified")
    for kind in (same, ~same):
        assert (np.diff(fold_of[kind]) >= 0).all()
        assert np.ptp(np.bincount(fold_of[kind], minlength=10)) <= 1
    if same.sum() % 10 == (~same).sum() % 10 == 0:
        theirs = np.empty(same.size, int)
        for fold, (_, test) in enumerate(StratifiedKFold(10).split(np.zeros(same.size), same)):
            theirs[test] = fold
        np.testing.assert_array_equal(fold_of, theirs)


def test_more_folds_than_pairs_of_a_kind_stay_without_it():
    distances, same = faces(100, block=1)
    same[:] = np.arange(100) < 4
    result = evaluate(distances, same, cut="stratified")
    assert result.undefined["tar_1e2"].startswith("needs 100")
    (warning,) = result.warnings
    assert warning.startswith("no pairs of one person in folds 5, 6, 7, 8, 9, 10.")
    assert "stratified" not in warning


def test_one_fold_that_holds_all_of_a_kind_leaves_no_threshold_to_choose():
    distances, _ = faces(100, block=1)
    same = np.arange(100) < 8
    result = evaluate(distances, same)
    assert result.undefined["accuracy"] == (
        "all pairs of one person are in fold 1: no threshold can be chosen without that fold"
    )
    assert (result.accuracy, result.threshold, result.correct) == (None, None, None)
    assert result.auc is not None


def test_a_network_that_gives_every_image_one_embedding_has_no_tar():
    _, same = faces(6000)
    for distances in (np.zeros(6000), np.random.default_rng(0).uniform(0, 1e-13, 6000)):
        result = evaluate(distances, same)
        assert result.tar is result.tar_1e2 is result.far is None
        assert result.undefined["tar"] == "both images of every pair have one embedding"
        assert result.accuracy == 0.5  # it is as good as a coin


def test_distances_that_tie_leave_no_threshold_near_the_rate():
    rng = np.random.default_rng(0)
    _, same = faces(6000)
    distances = np.where(same, 0.5, rng.choice([0.5, 1.5], 6000, p=[0.3, 0.7]))  # three pairs of ten at once
    result = evaluate(distances, same)
    assert result.undefined["tar"].startswith("distances tie: of pairs of different people, thresholds accept less ")
    assert result.tar is None
    far_apart = evaluate(np.where(same, 0.5, 4.0), same)
    assert far_apart.undefined["tar"] == "no threshold below 4 accepts 0.001 of the pairs of different people"


@given(st.integers(0, 2**32), st.floats(0.02, 0.6), st.integers(1120, 3000))
@settings(max_examples=30, deadline=None)
def test_real_distances_are_not_taken_for_ties(seed, spread, impostors):
    rng = np.random.default_rng(seed)
    same = np.tile([True, False], impostors)
    distances = np.abs(np.where(same, rng.normal(0.9, 0.3, same.size), rng.normal(1.9, spread, same.size)))
    distances = np.where(distances > 4, 8 - distances, distances)  # thrown back: cut off at the ends, they would tie
    assert evaluate(distances, same).tar is not None


@pytest.mark.parametrize(("target", "trials"), [(1e-3, 999), (1e-6, 999_999), (0.29, 3)])
def test_what_a_rate_needs_is_what_admits_one_error(target, trials):
    assert support.needs(target, trials).startswith(f"needs {trials + 1:,} pairs")
    assert support.needs(target, trials + 1) is None
    assert (allowed(target, trials), allowed(target, trials + 1)) == (0, 1)


def test_the_training_part_of_fewest_impostors_decides():
    distances, same = faces(2200, block=1)
    same[:219] = False  # 1,210 of different people, 990 of them outside the first fold
    reason = evaluate(distances, same).undefined["tar"]
    assert reason == "needs 1,000 pairs of different people in each training part; there are 990"


@pytest.mark.parametrize(("tied", "near"), [(6, True), (60, False)])
def test_how_many_pairs_may_tie(tied, near):
    distances, same = faces(6000)
    impostors = np.flatnonzero(~same)
    # Duplicates of some pair of different people, nearer than all others: 6 of 3,000 are twice the target.
    chosen = np.random.default_rng(0).permutation(impostors)[:tied]
    distances[impostors] = np.maximum(distances[impostors], 1.2)
    distances[chosen] = 0.7
    assert (evaluate(distances, same).tar is not None) == near


@pytest.mark.parametrize("same", [1, 6, 9, 15])
def test_stratified_folds_of_few_pairs_are_never_empty(same):
    is_same = np.arange(same + 9) < same
    result = evaluate(np.where(is_same, 0.5, 1.5), is_same, cut="stratified")
    assert np.unique(cut_folds(is_same, 10, "stratified")).size == 10
    assert (result.accuracy == 1.0) == (same > 1)
    if same == 1:
        assert "all pairs of one person are in fold 1" in result.undefined["accuracy"]
