"""The threshold that is recommended for a false accept rate."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn import metrics

from arcface_common.protocol import far_thresholds


@given(
    st.lists(st.floats(0, 4), min_size=1, max_size=40),
    st.lists(st.floats(0, 4), min_size=1, max_size=40),
    st.floats(0.02, 0.99),
)
def test_recommended_threshold_is_the_largest_that_keeps_the_rate(genuine, impostors, far):
    distances = np.array(genuine + impostors)
    same = np.arange(distances.size) < len(genuine)
    found = far_thresholds.recommend(distances, same, far)
    if len(impostors) * far < 1 - 1e-9:
        assert found is None
        return
    if found is None:  # the product of count and rate is 1, as good as
        assert math.isclose(len(impostors) * far, 1)
        return
    assert found.false_accepts == sum(d < found.threshold for d in impostors)
    assert found.false_accepts <= len(impostors) * far * (1 + 1e-9)
    assert found.tar == sum(d < found.threshold for d in genuine) / len(genuine)
    assert f"{found.threshold:.3f}" == f"{round(found.threshold * 1000) / 1000}".ljust(5, "0")
    next_step = (round(found.threshold * 1000) + 1) / 1000
    assert sum(d < next_step for d in impostors) > len(impostors) * far * (1 - 1e-9)


def test_recommendation_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    same = rng.random(40_000) < 0.5
    distances = np.clip(np.where(same, rng.normal(1.0, 0.3, 40_000), rng.normal(1.9, 0.3, 40_000)), 0, 4)
    fpr, tpr, _ = metrics.roc_curve(same, -distances, drop_intermediate=False)
    for far in (1e-2, 1e-3):
        found = far_thresholds.recommend(distances, same, far)
        assert found.tar == pytest.approx(tpr[fpr <= far].max(), abs=2e-3)  # a step of 0.001 holds some pairs
        assert found.false_accepts / found.impostors <= far
        k, n = found.false_accepts, found.impostors
        assert found.far_interval == pytest.approx((beta.ppf(0.025, k, n - k + 1), beta.ppf(0.975, k + 1, n - k)))
        assert found.cosine == 1 - found.threshold / 2
