"""The schedules, against their formulas in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from trainer_module.optimization.schedules import WarmupCosine, margin_at


def test_learning_rate_warms_up_then_falls_to_zero():
    schedule = WarmupCosine(0.1, warmup_steps=10, steps=110)
    rates = [float(schedule(tf.constant(step))) for step in range(111)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.01, rtol=1e-6)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[60] == pytest.approx(0.05)
    assert rates[110] == pytest.approx(0, abs=1e-8)
    assert WarmupCosine(**schedule.get_config())(tf.constant(42)) == schedule(tf.constant(42))


def test_margin_grows_linearly():
    assert [float(margin_at(tf.constant(step), 0.5, 10)) for step in (0, 5, 10, 99)] == [0.0, 0.25, 0.5, 0.5]
    assert float(margin_at(tf.constant(0), 0.5, 0)) == 0.5
