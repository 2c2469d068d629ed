"""When hooks are called, and what the watch for a finite loss says."""

import pytest

from trainer_module.training.hooks import Metrics, is_due
from trainer_module.training.hooks.finite import FiniteLoss


@pytest.mark.parametrize(("every", "expected"), [(0, [10]), (1, list(range(1, 11))), (4, [4, 8, 10]), (5, [5, 10])])
def test_a_hook_is_called_each_so_many_steps_and_after_the_last(every, expected):
    hook = FiniteLoss(every)
    assert [step for step in range(1, 11) if is_due(hook, step, last=10)] == expected


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_training_and_says_what_to_try(loss):
    expected = rf"train.learning_rate, .* train.warmup_steps or train.clip_norm. Received: loss={loss} at step 3"
    with pytest.raises(FloatingPointError, match=expected):
        FiniteLoss(1)(3, None, Metrics({"loss": loss}, 3, 1.0))
    FiniteLoss(1)(3, None, Metrics({"loss": 1e30}, 3, 1.0))
