"""The strategy of a process."""

from trainer_module.settings import TrainSettings
from trainer_module.workers import distribution


def test_without_tf_config_this_process_is_the_chief():
    strategy = distribution.make_strategy(TrainSettings())
    assert strategy.num_replicas_in_sync == 1
    assert distribution.is_chief(strategy)
