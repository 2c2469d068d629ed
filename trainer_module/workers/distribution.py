"""The strategy of this process, which may be one worker of many."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer_module.settings import TrainSettings


def make_strategy(settings: TrainSettings) -> tf.distribute.Strategy:
    """The strategy of this process.

    Args:
      settings: `strategy` and `workers`; with several workers, TF_CONFIG says which of them this process is.

    Returns:
      MultiWorkerMirroredStrategy with several workers; CentralStorageStrategy if asked for; MirroredStrategy over the
      GPUs where there are several; else the default one, which costs nothing.
    """
    if settings.workers > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if settings.strategy == "central":
        devices = [gpu.name for gpu in gpus] or ["/cpu:0"]
        return tf.distribute.experimental.CentralStorageStrategy(compute_devices=devices, parameter_device="/cpu:0")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes what the run leaves behind."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (resolver.task_type == "worker" and resolver.task_id == 0 and not has_chief)


def agreed(strategy: tf.distribute.Strategy, chief_says: bool) -> bool:
    """What the chief says, known to all workers, who call this together; the others say False."""
    return summed(strategy, [chief_says])[0] > 0


def summed(strategy: tf.distribute.Strategy, numbers: Sequence[float]) -> Sequence[float]:
    """The sums of numbers that each replica's worker says, known to all workers, who call this together."""
    if strategy.num_replicas_in_sync == 1:
        return numbers
    told = strategy.run(tf.identity, args=(tf.constant(np.asarray(numbers, np.float32)),))
    sums: list[float] = strategy.reduce("sum", told, axis=None).numpy().tolist()
    return sums
