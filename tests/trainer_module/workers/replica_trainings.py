"""Trainings of a job in one process, on one device and on two: `... JOB.json NAME...`; run_dir gets a folder of each.

A program, since TensorFlow must be told before it starts that one processor is two devices. The name `float64` has it
compute in that.
"""

import contextlib
import dataclasses
import os
import sys

import numpy as np

_SETTINGS = {"sampled": {"sample_rate": 0.5}, "synchronized": {"norm": "sync_batch"}}


def main(path, *names):
    """Trains the job in the ways that are named."""
    import tensorflow as tf

    from trainer_module.training import loop
    from trainer_module.workers.job import TrainingJob

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    devices = ["/cpu:0", "/cpu:1"]
    strategies = {
        "mirrored": lambda: tf.distribute.MirroredStrategy(devices),
        "central": lambda: tf.distribute.experimental.CentralStorageStrategy(devices, parameter_device="/cpu:0"),
    }
    create_state = loop.create_state

    def create_moved(*arguments, **options):
        """The state of a training's beginning, each weight off by one rounding."""
        state = create_state(*arguments, **options)
        for variable in state.trainable_variables():
            value = variable.numpy()
            variable.assign(np.nextafter(value, np.inf, dtype=value.dtype))
        return state

    with open(path) as file:
        job = TrainingJob.from_json(file.read())
    with _in_float64() if "float64" in names else contextlib.nullcontext():
        for name in set(names) - {"float64"}:
            strategy = strategies.get(name, tf.distribute.get_strategy)()
            loop.distribution.make_strategy = lambda settings, strategy=strategy: strategy
            loop.create_state = create_moved if name == "moved" else create_state
            settings = dataclasses.replace(job.settings, **_SETTINGS.get(name, {}))
            run_dir = os.path.join(job.run_dir, name)
            os.makedirs(run_dir)
            loop.train(dataclasses.replace(job, run_dir=run_dir, settings=settings))


@contextlib.contextmanager
def _in_float64():
    """Has all that this process says to be float32 be float64."""
    import tensorflow as tf
    import tf_keras

    set_policy = tf_keras.mixed_precision.set_global_policy
    tf_keras.mixed_precision.set_global_policy = lambda name: set_policy("float64" if name == "float32" else name)
    tf.float32 = tf.float64

    def create(creator, *, initial_value, dtype=None, **options):
        value = tf.convert_to_tensor(initial_value() if callable(initial_value) else initial_value)
        dtype = tf.float64 if value.dtype.is_floating else dtype or value.dtype
        return creator(initial_value=tf.cast(value, dtype), dtype=dtype, **options)

    with tf.variable_creator_scope(create):
        yield


if __name__ == "__main__":
    main(*sys.argv[1:])
