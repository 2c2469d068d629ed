"""Error rates and significance against scikit-learn, SciPy and plain counting."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import auc, roc_auc_score, roc_curve

from arcface_common.protocol import verification_statistics as statistics
from arcface_common.protocol.verification_statistics import ProtocolError


def faces(pairs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distances and truth as of a middling model, half of the pairs of one person."""
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) % 2 == 0
    distances = np.where(same, rng.normal(0.9, 0.3, pairs), rng.normal(1.9, 0.25, pairs))
    return np.clip(distances, 0, 4), same


@pytest.mark.parametrize("digits", [1, 2, 17])
def test_roc_equals_scikit_learn(digits: int) -> None:
    distances, same = faces(1000, seed=5)
    distances = distances.round(digits)
    curve = statistics.roc_curve(distances, same)
    far, tar, scores = roc_curve(same, -distances, drop_intermediate=False)
    assert np.array_equal(curve.far, far) and np.array_equal(curve.tar, tar)
    assert np.allclose(curve.thresholds[1:], -scores[1:])
    assert curve.auc() == pytest.approx(roc_auc_score(same, -distances), abs=1e-15)
    assert curve.auc() == auc(far, tar)
    for far, tar, threshold in zip(curve.far, curve.tar, curve.thresholds, strict=True):
        assert np.mean(distances[~same] < threshold) == pytest.approx(far, abs=1e-15)
        assert np.mean(distances[same] < threshold) == pytest.approx(tar, abs=1e-15)


def test_roc_needs_a_pair() -> None:
    with pytest.raises(ProtocolError, match="at least 1 pair. Received: 0"):
        statistics.roc_curve([], [])


def test_eer() -> None:
    def eer(distances: list[float], same: list[int]) -> float | None:
        return statistics.roc_curve(distances, same).eer()

    assert eer([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0]) == 0
    assert eer([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]) == 1
    assert eer([0.5] * 6, [0, 1] * 3) == 0.5  # one tie: half way along the diagonal
    assert eer([0.1, 0.5, 0.4, 0.9], [1, 1, 0, 0]) == 0.5
    assert eer([0.1, 0.9], [1, 1]) is None
    rng = np.random.default_rng(6)
    same = np.arange(200_000) % 2 == 0
    distances = np.where(same, rng.normal(1.2, 0.2, same.size), rng.normal(2.0, 0.2, same.size))
    # Two normal distributions 4 deviations apart cross half way, 2 deviations from either mean.
    assert eer(distances, same) == pytest.approx(stats.norm.cdf(-2), abs=1e-3)


def test_tar_at_far_equals_the_best_of_all_thresholds() -> None:
    distances, same = faces(1000, seed=7)
    distances = distances.round(2)
    curve = statistics.roc_curve(distances, same)
    targets = (0.002, 0.01, 0.1, 0.29, 0.999, 1.0)
    for target, tar in statistics.tar_at_far(distances, same, targets).items():
        assert tar == curve.tar[curve.far <= target].max()
    # 29 of 100 impostors are a FAR of 0.29, though 0.29 * 100 is 28.999999999999996.
    distances, same = np.arange(200) / 100, np.arange(200) % 2 == 0
    assert statistics.tar_at_far(distances, same, [0.29]) == {0.29: 0.3}


def test_tar_at_far_says_nothing_that_the_set_cannot_tell() -> None:
    distances, same = faces(6000)
    rates = statistics.tar_at_far(distances, same)
    assert list(rates) == [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
    assert [far for far, tar in rates.items() if tar is not None] == [1e-2, 1e-3]  # 3,000 impostors
    with pytest.raises(ProtocolError, match=r"Received: \[0, 2\]"):
        statistics.tar_at_far(distances, same, (0, 0.5, 2))


def test_bootstrap_is_that_of_resampled_pairs() -> None:
    correct = np.arange(500) % 10 != 0
    low, high = statistics.bootstrap_accuracy(correct, seed=1)
    picks = np.random.default_rng(2).integers(0, 500, (10_000, 500))
    assert np.quantile(correct[picks].mean(axis=1), [0.025, 0.975]) == pytest.approx([low, high], abs=0.0041)
    assert low < 0.9 < high
    assert (low, high) == statistics.bootstrap_accuracy(correct, seed=1)
    wider = statistics.bootstrap_accuracy(correct, seed=1, confidence=0.99)
    assert wider[0] < low and high < wider[1]
    assert statistics.bootstrap_accuracy(np.ones(20)) == (1, 1)


@pytest.mark.parametrize(
    "arguments", [{"correct": []}, {"confidence": 1.0}, {"confidence": 0.0}, {"resamples": 0}], ids=str
)
def test_bootstrap_arguments(arguments: dict) -> None:
    with pytest.raises(ProtocolError, match="Expected at least 1 pair.*Received: pairs="):
        statistics.bootstrap_accuracy(**{"correct": [True, False]} | arguments)


def disagreeing(only_first: int, only_second: int, both: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Judgements of two models that differ in the given numbers of pairs."""
    counts = [only_first, only_second, both]
    return np.repeat([True, False, True], counts), np.repeat([False, True, True], counts)


@given(st.integers(0, 500), st.integers(0, 500))
@settings(deadline=None)
def test_mcnemar_equals_the_sum_of_the_coins(only_first: int, only_second: int) -> None:
    result = statistics.mcnemar(*disagreeing(only_first, only_second))
    differing = only_first + only_second
    # Written out: twice the smaller tail of fair coins.
    tail = sum(math.comb(differing, successes) for successes in range(min(only_first, only_second) + 1))
    assert (result.only_first, result.only_second) == (only_first, only_second)
    assert result.p_value == pytest.approx(min(1.0, 2 * tail / 2**differing), rel=1e-9)


@pytest.mark.parametrize(("only_first", "only_second"), [(501, 500), (600, 500), (2000, 2100), (300_000, 301_000)])
def test_mcnemar_of_many_is_close_to_chi_squared(only_first: int, only_second: int) -> None:
    result = statistics.mcnemar(*disagreeing(only_first, only_second))
    statistic = (abs(only_first - only_second) - 1) ** 2 / (only_first + only_second)
    assert result.p_value == pytest.approx(stats.chi2.sf(statistic, 1), abs=1e-3)


def test_mcnemar_arguments() -> None:
    with pytest.raises(ProtocolError, match=r"second_correct of shape \[2\]. Received: shape \(1,\)"):
        statistics.mcnemar([True, False], [True])
    with pytest.raises(ProtocolError, match=r"first_correct of bool or of 0 and 1. Received: float64 \[0.5\]"):
        statistics.mcnemar([0.5], [True])
