"""When hooks are called, and what the watch for finite numbers says."""

import math

import pytest
import tf_keras

from trainer_module.training.hooks import Metrics, is_due
from trainer_module.training.hooks.finite import Finite
from trainer_module.training.state import TrainState


@pytest.mark.parametrize(("every", "expected"), [(0, [10]), (1, list(range(1, 11))), (4, [4, 8, 10]), (5, [5, 10])])
def test_a_hook_is_called_each_so_many_steps_and_after_the_last(every, expected):
    hook = Finite(every)
    assert [step for step in range(1, 11) if is_due(hook, step, last=10)] == expected


@pytest.mark.parametrize(("loss", "norm"), [(float("nan"), 1.0), (float("inf"), 1.0), (2.0, float("nan"))])
def test_numbers_that_are_none_end_training_and_say_what_to_try(loss, norm):
    state = TrainState(None, None, tf_keras.optimizers.SGD(0.25), None)
    expected = (
        r"train.learning_rate, .* train.warmup_steps or train.clip_norm. "
        rf"Received: loss={loss:g}, gradient_norm={norm:g} at step 3, learning rate 0.25"
    )
    with pytest.raises(FloatingPointError, match=expected):
        Finite(1)(3, state, Metrics({"loss": loss, "gradient_norm": norm, "loss_scale": 1.0}, 3, 1.0))
    Finite(1)(3, state, Metrics({"loss": 1e30, "gradient_norm": 1e30, "loss_scale": 1.0}, 3, 1.0))


def test_a_gradient_that_overflows_is_fine_while_the_loss_is_scaled():
    Finite(1)(3, None, Metrics({"loss": 1.0, "gradient_norm": math.inf, "loss_scale": 2.0}, 3, 1.0))
    state = TrainState(None, None, tf_keras.optimizers.SGD(0.25), None)
    with pytest.raises(FloatingPointError, match="Received: loss=nan, gradient_norm=inf at step 3"):
        Finite(1)(3, state, Metrics({"loss": math.nan, "gradient_norm": math.inf, "loss_scale": 2.0}, 3, 1.0))
