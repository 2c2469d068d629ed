"""The protocol against a straight transcription of the published algorithm, digit for digit."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from arcface_common.protocol.folds import best_threshold, far_threshold
from arcface_common.protocol.insightface import evaluate, pair_distances
from arcface_common.protocol.verification_statistics import ProtocolError, mcnemar
from tests.arcface_common.protocol.published_protocol import (
    Confusion,
    assert_equal,
    assert_folds_equal,
    faces,
    fold_by_fold,
    published,
    scipy_inverse,
    table_sweep,
)


def embeddings_of(pairs: int = 300, width: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw float32 embeddings [2N, D], those of the mirrors, and truth; people differ more than their photographs."""
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) // 15 % 2 == 0
    people = rng.standard_normal((pairs, 2, width))
    people[same, 1] = people[same, 0]
    people *= np.linspace(2, 0.2, width)
    photos = people + 0.9 * rng.standard_normal(people.shape)
    mirrored = photos + 0.2 * rng.standard_normal(people.shape)
    return photos.reshape(-1, width).astype(np.float32), mirrored.reshape(-1, width).astype(np.float32), same


@pytest.mark.parametrize(("pairs", "seed", "block"), [(6000, 0, 300), (6003, 1, 1)])
def test_equals_the_published_loops(pairs: int, seed: int, block: int) -> None:
    distances, same = faces(pairs, seed, block)
    assert_equal(evaluate(distances, same), published(distances, same))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_published_loops_where_distances_lie_on_thresholds(dtype: type) -> None:
    distances, same = faces(1200, seed=2, block=60)
    distances = distances.round(2).astype(dtype).astype(np.float64)
    theirs = published(distances, same, sweep=table_sweep)
    assert_folds_equal(fold_by_fold(distances, same), theirs)
    result = evaluate(distances.astype(dtype), same)
    assert (result.accuracies, result.thresholds) == (tuple(theirs.accuracy), tuple(theirs.thresholds))


def test_equals_scipy_where_no_far_repeats() -> None:
    # 2 impostors in each of the 3,999 steps: one in either half of the file, so every 5 of 6 folds hold one of each.
    steps = np.tile((np.arange(3999) + 0.5) * 0.001, 2)
    rng = np.random.default_rng(3)
    distances = np.concatenate((steps, rng.uniform(0, 2, 1000)))
    same = np.arange(distances.size) >= steps.size
    for target in (1e-3, 0.01234, 0.5):
        theirs = published(distances, same, folds=6, far_target=target, sweep=table_sweep_of_far_only)
        rates = fold_by_fold(distances, same, 6, target).rates[0]
        assert (rates.tar, rates.far) == (theirs.tar.tolist(), theirs.far.tolist())
        assert rates.thresholds == theirs.tar_thresholds.tolist()


def table_sweep_of_far_only(thresholds: np.ndarray, distances: np.ndarray, same: np.ndarray) -> list[Confusion]:
    """False accepts by loop; the table would take 36 MB a fold, and the other counts are not asked for."""
    impostors = distances[~same]
    accepts = [int(np.sum(impostors < threshold)) for threshold in thresholds]
    return [(0, accept, impostors.size - accept, 0) for accept in accepts]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_equals_the_published_algorithm_on_ties(data: st.DataObject) -> None:
    pairs, folds = data.draw(st.integers(2, 60)), data.draw(st.integers(2, 10))
    pairs = max(pairs, folds)
    # Whole hundredths hit thresholds, from below and above: 0.57 < 57 * 0.01. Long runs make folds of one kind.
    steps = data.draw(st.lists(st.integers(0, 400), min_size=pairs, max_size=pairs))
    run = data.draw(st.sampled_from([1, 2, 7, 60]))
    kinds = data.draw(st.lists(st.booleans(), min_size=-(-pairs // run), max_size=-(-pairs // run)))
    distances, same = np.array(steps) / 100, np.repeat(kinds, run)[:pairs]
    target = data.draw(st.sampled_from([1e-3, 0.05, 0.2, 0.5]))
    ours = fold_by_fold(distances, same, folds, target)
    theirs = published(distances, same, folds, target, table_sweep)
    assert_folds_equal(ours, theirs)
    for fold, (_, test) in enumerate(KFold(folds).split(np.arange(pairs))):
        assert np.array_equal(ours.correct[test], (distances[test] < ours.thresholds[fold]) == same[test])


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=200), st.floats(1e-4, 0.999))
@settings(max_examples=100, deadline=None)
def test_far_threshold_equals_the_spline(steps: list[int], target: float) -> None:
    distances, thresholds = np.array(steps) / 1000, np.arange(0, 4, 0.001)
    rates = np.array([np.sum(distances < threshold) for threshold in thresholds]) / distances.size
    if rates[-1] > target:
        assert far_threshold(distances, target) == scipy_inverse(rates, thresholds, target)
    elif rates[-1] < target:
        assert far_threshold(distances, target) == 0


def test_far_threshold_at_the_edges() -> None:
    assert far_threshold(np.array([]), 1e-3) == 0  # no impostors
    assert far_threshold(np.full(9, 3.9995), 1e-3) == 0  # none below the last threshold
    # FAR is 0 up to 1.0 (strict) and 1 from 1.001 on: 0.1 % of the way between the two.
    assert far_threshold(np.ones(10), 1e-3) == pytest.approx(1.000001, abs=1e-12)
    # The largest FAR is the target itself, so no threshold lies above it.
    assert far_threshold(np.ones(10), 1.0) == np.arange(0, 4, 0.001)[-1]


def test_best_threshold_is_the_first_of_equals_and_strict() -> None:
    distances, same = np.array([0.5, 1.5]), np.array([True, False])
    assert best_threshold(distances, same) == 0.51  # 0.5 < 0.50 is false
    assert best_threshold(np.array([1.0]), np.array([False])) == 0


def test_a_pair_on_the_tar_threshold_is_rejected() -> None:
    # Half of the impostors lie at 0.5 and half at 1, in each fold: FAR is exactly 0.5 up to the threshold 1, strictly.
    distances, same = np.tile([0.5, 1.0, 1.0], 10), np.tile([False, False, True], 10)
    figures = fold_by_fold(distances, same, far_target=0.5)
    (rates,) = figures.rates
    assert (set(rates.thresholds), set(rates.tar), set(rates.far)) == ({1}, {0}, {0.5})
    assert_folds_equal(figures, published(distances, same, far_target=0.5, sweep=table_sweep))


def test_folds_follow_the_file_order() -> None:
    distances, same = faces(600, seed=4, block=1)
    distances[:300] += 0.5
    order = np.random.default_rng(0).permutation(600)
    kept, shuffled = evaluate(distances, same), evaluate(distances[order], same[order])
    assert kept.accuracies != shuffled.accuracies
    assert kept.best_threshold == shuffled.best_threshold
    assert (kept.auc, kept.eer) == (shuffled.auc, shuffled.eer)


def test_pair_distances_equal_the_published_arithmetic() -> None:
    raw, mirrored, _ = embeddings_of()
    # The script collects float32 outputs in np.zeros, which is float64.
    unit = normalize(raw.astype(np.float64) + mirrored.astype(np.float64))
    expected = np.sum(np.square(np.subtract(unit[0::2], unit[1::2])), 1)
    distances, norms = pair_distances(raw, mirrored)
    assert distances.dtype == norms.dtype == np.float64
    assert np.array_equal(distances, expected)
    lengths = [np.linalg.norm(vector.astype(np.float64)) for passes in (raw, mirrored) for vector in passes]
    assert np.mean(norms) == pytest.approx(np.mean(lengths), rel=1e-14)


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_pair_distances_do_not_depend_on_the_batch(pairs: int, batch: int) -> None:
    raw, mirrored, _ = embeddings_of(pairs, width=512)
    whole = pair_distances(raw, mirrored)
    cuts = range(0, 2 * pairs, 2 * batch)
    parts = [pair_distances(raw[cut : cut + 2 * batch], mirrored[cut : cut + 2 * batch]) for cut in cuts]
    for ours, batched in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.array_equal(ours, np.concatenate(batched))


def test_embeddings_without_a_direction_have_no_distance() -> None:
    raw = np.array([[3.0, 4.0], [1.0, 0.0], [1, 2], [2, 1], [1, np.nan], [1, 1], [1, 2], [-np.inf, 0]])
    mirrored = raw * [[-1], [1], [1], [1], [1], [1], [1], [-1]]
    distances, norms = pair_distances(raw, mirrored)
    assert np.isnan(distances).tolist() == [True, False, True, True]
    assert norms[0] == 3.0
    assert not np.isfinite(norms[2:]).any()


def test_figures_of_embeddings() -> None:
    raw, mirrored, same = embeddings_of()
    distances, norms = pair_distances(raw, mirrored)
    assert evaluate(distances, same, norms).xnorm == np.mean(norms)
    assert evaluate(distances, same).xnorm is None
    assert_folds_equal(fold_by_fold(distances, same), published(distances, same, sweep=table_sweep))


def test_spoilt_embeddings_name_their_pairs() -> None:
    raw, mirrored, same = embeddings_of()
    spoilt = mirrored.copy()
    spoilt[[7, 400], 3] = np.nan, np.inf
    distances, norms = pair_distances(raw, spoilt)
    result = evaluate(distances, same, norms)
    assert result.undefined["accuracy"] == "embeddings that are not finite, or of length 0, in pairs 3, 200"
    assert result.undefined["xnorm"] == "embeddings that are not finite"
    assert (result.accuracy, result.xnorm, result.correct) == (None, None, None)


@pytest.mark.parametrize(
    ("raw", "mirrored", "message"),
    [
        (np.ones((3, 2)), np.ones((3, 2)), r"embeddings of real \[2N, D\]. Received: float64 of shape \(3, 2\)"),
        (np.ones(4), np.ones(4), r"Received: float64 of shape \(4,\)"),
        (np.ones((0, 2)), np.ones((0, 2)), r"Received: float64 of shape \(0, 2\)"),
        (np.ones((4, 2)), np.ones((2, 2)), r"of one shape. Received: \(4, 2\) and \(2, 2\)"),
        (np.ones((4, 2)), np.ones((4, 2), complex), "mirrored of real.*Received: complex128"),
    ],
)
def test_shapes_of_embeddings(raw: np.ndarray, mirrored: np.ndarray, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        pair_distances(raw, mirrored)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 13}, "as many pairs. Received: folds=13, pairs=12"),
        ({"folds": 1}, "at least 2 folds.*Received: folds=1"),
        ({"is_same": [True] * 11}, r"is_same of shape \[12\]. Received: shape \(11,\)"),
        ({"is_same": [2] * 12}, r"0 and 1. Received: int64 \[2"),
        ({"is_same": ["yes"] * 12}, "0 and 1. Received: <U3"),
        ({"norms": [1.0] * 11}, r"norms of shape \[12\]. Received: shape \(11,\)"),
        ({"distances": [1.0] * 10 + [np.nan, np.inf]}, "finite distances.*at pairs 11"),
        ({"cut": "shuffled"}, r"folds of \('contiguous', 'stratified'\)\. Received: 'shuffled'"),
        ({"distances": [1.0] * 11 + [-0.5]}, r"0\.\.4\. Received: .*-0.5.* at pairs 11"),
        ({"distances": [1.0] * 11 + [256.0]}, r"0\.\.4\. Received: .*256.* at pairs 11"),
        ({"distances": [[1.0]] * 12}, r"shape \[N\]. Received: float64 of shape \(12, 1\)"),
        ({"far_target": 0.0}, "far_target above 0.*Received: far_target=0"),
        ({"far_target": 1.5}, "Received: far_target=1.5"),
    ],
)
def test_arguments_of_evaluate(changes: dict, message: str) -> None:
    arguments = {"distances": [1.0] * 12, "is_same": [True, False] * 6} | changes
    with pytest.raises(ProtocolError, match=message) as caught:
        evaluate(**arguments)
    assert isinstance(caught.value, ValueError)


def test_flags_may_be_numbers() -> None:
    distances, same = faces(40, block=2)
    assert evaluate(distances, same.astype(np.int64)) == evaluate(distances.tolist(), same.tolist())


def test_result_is_frozen_and_survives_json() -> None:
    distances, same = faces(400, block=20)
    result = evaluate(distances, same)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.accuracy = 1.0
    with pytest.raises(ValueError, match="read-only"):
        result.correct[0] = False
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values["accuracy"] == result.accuracy
    assert values["tar_at_far"] == {"0.01": result.tar_at_far[1e-2], "0.001": None} | dict.fromkeys(
        ("0.0001", "1e-05", "1e-06")
    )
    assert np.array_equal(np.flatnonzero(~result.correct), values["wrong_pairs"])
    assert len(values["thresholds"]) == len(values["accuracies"]) == 10


def test_mcnemar_compares_two_results() -> None:
    distances, same = faces(600, block=30)
    worse = np.clip(distances + np.random.default_rng(8).normal(0, 0.4, 600), 0, 4)
    first, second = evaluate(distances, same), evaluate(worse, same)
    result = mcnemar(first.correct, second.correct)
    assert result.only_first > result.only_second and result.p_value < 1e-3
