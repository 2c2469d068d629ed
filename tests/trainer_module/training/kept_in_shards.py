"""The class centres that a training in two replicas begins with, each of which holds half of them.

`python -m tests.trainer_module.training.kept_in_shards RUN FILE LABELS...` writes them to FILE, .npy, [classes, 1, D].
"""

import dataclasses
import sys

import numpy as np
import tensorflow as tf

from tests.trainer_module import tiny_network
from trainer_module.training.state import create_state

if __name__ == "__main__":
    _, run, file, *labels = sys.argv
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    settings = dataclasses.replace(tiny_network.SETTINGS, init_from=run, init_centres="kept", shard_centres=True)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        state = create_state(settings, len(labels), labels)
    np.save(file, state.head.whole_centres())
