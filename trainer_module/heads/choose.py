"""The head that settings ask for."""

import tensorflow as tf

from arcface_common.errors import ConfigError
from arcface_common.setting import require
from trainer_module.heads import Head
from trainer_module.heads.full import FullCentres, HeadOptions
from trainer_module.heads.margins import create_margin
from trainer_module.heads.sampled import SampledCentres
from trainer_module.heads.sharded import ShardedCentres
from trainer_module.loss_facts import LOSSES
from trainer_module.settings import TrainSettings


def create_head(settings: TrainSettings, embedding_dim: int, classes: int) -> Head:
    """The head of a training, under the strategy of this place.

    Raises:
      ConfigError: with several replicas: `train.sample_rate` without `train.shard_centres`, or a loss that remembers
        with `train.accumulate` or `train.jit`.
    """
    options = HeadOptions(
        scale=settings.scale,
        margin=create_margin(settings.loss, settings.loss_options),
        sub_centres=settings.sub_centres,
        ignored_from=settings.ignored_from,
        normalized=settings.loss != "softmax",
        seed=settings.seed,
    )
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1 and LOSSES[settings.loss].remembers:
        why = f"with train.loss={settings.loss} and several replicas"
        require(settings, "accumulate", settings.accumulate == 1, f"1 {why}")
        require(settings, "jit", not settings.jit, f"false {why}")
    if settings.shard_centres and replicas > 1:
        return ShardedCentres(embedding_dim, classes, settings.sample_rate, options)
    if settings.sample_rate == 1.0:
        return FullCentres(embedding_dim, classes, options)
    if replicas > 1:
        expected = "1 with several replicas and train.shard_centres=false"
        raise ConfigError(f"train.sample_rate must be {expected}. Received: {replicas} replicas")
    return SampledCentres(embedding_dim, classes, settings.sample_rate, options)
