"""Trainings of a job in one process, on one device and on two: `... JOB.json`, whose run_dir gets a folder of each.

A program, since TensorFlow must be told before it starts that one processor is two devices.
"""

import dataclasses
import os
import sys


def main(path):
    """Trains the job by each strategy."""
    import tensorflow as tf

    from trainer_module.training import loop
    from trainer_module.workers.job import TrainingJob

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    devices = ["/cpu:0", "/cpu:1"]
    strategies = {
        "one": tf.distribute.get_strategy(),
        "mirrored": tf.distribute.MirroredStrategy(devices),
        "central": tf.distribute.experimental.CentralStorageStrategy(devices, parameter_device="/cpu:0"),
        "sampled": tf.distribute.get_strategy(),
    }
    with open(path) as file:
        job = TrainingJob.from_json(file.read())
    for name, strategy in strategies.items():
        loop.distribution.make_strategy = lambda settings, strategy=strategy: strategy
        settings = dataclasses.replace(job.settings, sample_rate=0.5 if name == "sampled" else 1.0)
        run_dir = os.path.join(job.run_dir, name)
        os.makedirs(run_dir)
        loop.train(dataclasses.replace(job, run_dir=run_dir, settings=settings))


if __name__ == "__main__":
    main(sys.argv[1])
