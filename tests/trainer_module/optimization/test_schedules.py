"""The schedules, against their formulas in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from trainer_module.optimization.schedules import LearningRate, margin_at
from trainer_module.settings import TrainSettings


def _rates(**values):
    """Of steps 0 to 110."""
    schedule = LearningRate(TrainSettings(learning_rate=0.1, warmup_steps=10, steps=110, **values))
    return np.array([schedule(tf.constant(step, tf.int64)).numpy() for step in range(111)])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, lambda t: (1 + np.cos(np.pi * t)) / 2),
        ({"schedule": "polynomial"}, lambda t: (1 - t) ** 2),
        ({"schedule": "polynomial", "power": 0.5}, lambda t: (1 - t) ** 0.5),
        # After 30 and after 60 steps, t = 0.2 and 0.5: the step that comes next has the lower rate.
        ({"schedule": "step", "milestones": (30, 60)}, lambda t: 0.1 ** (1 * (t > 0.195) + (t > 0.495))),
        ({"schedule": "step", "milestones": (30,), "decay_factor": 0.5}, lambda t: 0.5 ** (t > 0.195)),
    ],
)
def test_the_rate_warms_up_then_falls(values, expected):
    rates = _rates(**values)
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.01, rtol=1e-6)
    np.testing.assert_allclose(rates[10:], 0.1 * expected(np.arange(101) / 100), rtol=1e-5, atol=1e-8)


def test_a_milestone_beyond_the_whole_numbers_of_float32_falls_at_its_step():
    settings = TrainSettings(schedule="step", milestones=(2**24 + 1,), steps=2**25)
    rates = [float(LearningRate(settings)(tf.constant(2**24 + past, tf.int64))) for past in (0, 1)]
    assert rates == pytest.approx([0.1, 0.01])


def test_margin_grows_linearly():
    assert [float(margin_at(tf.constant(step), 0.5, 10)) for step in (0, 5, 10, 99)] == [0.0, 0.25, 0.5, 0.5]
    assert float(margin_at(tf.constant(0), 0.5, 0)) == 0.5
