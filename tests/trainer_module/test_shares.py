"""Settings of a training of another length keep their shares of it."""

import pytest

from arcface_common.errors import DataError
from trainer_module.settings import TrainSettings
from trainer_module.shares import of_length


def test_what_warms_up_and_falls_keeps_its_share():
    settings = TrainSettings(steps=1000, warmup_steps=50, schedule="step", milestones=(600, 900)).to_dict()
    longer = of_length(settings, 3000)
    assert (longer["steps"], longer["warmup_steps"], tuple(longer["milestones"])) == (3000, 150, (1800, 2700))
    assert TrainSettings.from_dict(longer).steps == 3000
    assert of_length(settings, 1000) == settings


def test_a_training_has_steps():
    with pytest.raises(DataError, match="steps: expected at least 1; .* Received: 0"):
        of_length(TrainSettings().to_dict(), 0)
