"""A few steps of training with whole centres in one replica, and with sharded ones in two and three.

A program, since TensorFlow must be told before it starts that one processor is several devices: `... RESULT.npz COUNT`.
"""

import dataclasses
import sys

import numpy as np
import tensorflow as tf

from tests.trainer_module.tiny_network import BLOCK
from trainer_module.loss_facts import LOSSES
from trainer_module.settings import TrainSettings
from trainer_module.training.state import create_state
from trainer_module.training.step import make_train_step

STEPS, BATCH, DIM = 4, 12, 6
SETTINGS = TrainSettings(
    backbone="tests.trainer_module.tiny_network:tiny_network",
    **{"embedding_dim": DIM, "norm": "group", "batch_size": BATCH, "steps": 10, "warmup_steps": 2},
    **{"margin_warmup_steps": 2, "learning_rate": 0.02, "weight_decay": 0.05, "scale": 8.0},
)


def _with(**settings):
    return dataclasses.replace(SETTINGS, **settings)


def _of_loss(loss):
    unused = {"normface": {"margin_warmup_steps": 0}, "softmax": {"margin_warmup_steps": 0, "scale": 64.0}}
    return _with(loss=loss, **unused.get(loss, {}))


SCENARIOS = {loss: _of_loss(loss) for loss in LOSSES} | {
    "sub-centres": _with(sub_centres=3, ignored_from=0.3, momentum=0.0),
    "clipped, decaying L2": _with(clip_norm=0.5, weight_decay=1.1, l2_decay=0.8),
    "adamw": _with(optimizer="adamw", weight_decay=0.5, clip_norm=0.5),
    "sampled": _with(sample_rate=0.5),
    "sampled, clipped": _with(sample_rate=0.2, loss="curricularface", sub_centres=2, ignored_from=0.3, clip_norm=0.5),
    "two classes": _with(sample_rate=0.5, clip_norm=0.5),
    "sync_batch": _with(norm="sync_batch"),
    "mixed_bfloat16": _with(precision="mixed_bfloat16"),
    "mixed_float16": _with(precision="mixed_float16", clip_norm=0.1, scale=0.5),
    "overflow": _with(precision="mixed_float16", scale=1e6),
}
IN_THREE = ("arcface", "adamw", "sampled, clipped", "two classes", "overflow")


def classes_of(name):
    """Of a scenario: two replicas have 4 and 3 of seven, three have 3, 3 and 1; of two classes the third has none."""
    return 2 if name == "two classes" else 7


def run_steps(strategy, settings, classes, begun=None):
    """Trains; metrics of each step, variables after the last, and the nearest centre of each image."""
    with strategy.scope():
        state = create_state(settings, classes)
        if begun is not None:
            state.head.begin_at(begun)
    random = np.random.default_rng(2)
    pixels = random.integers(0, 256, (STEPS * BATCH, 4, 4, 3), dtype=np.uint8)
    pixels = pixels.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)
    examples = pixels, random.integers(0, classes, STEPS * BATCH), random.random(STEPS * BATCH) < 0.5
    embeddings = random.normal(size=(STEPS * BATCH, DIM)).astype(np.float32)

    def batches(*parts):
        per_replica = BATCH // strategy.num_replicas_in_sync
        return iter(
            strategy.distribute_datasets_from_function(
                lambda context: tf.data.Dataset.from_tensor_slices(parts).batch(per_replica)
            )
        )

    step, iterator, found = make_train_step(strategy, state, settings), batches(*examples), {}
    for i in range(STEPS):
        metrics = step(iterator)
        found |= {f"{i}/{name}": float(value) for name, value in metrics.items() if name != "input_seconds"}
    found |= {f"variable {i}": np.asarray(value) for i, value in enumerate(state.values())}
    nearest = tf.function(lambda iterator: strategy.run(state.head.nearest, args=next(iterator)))(batches(embeddings))
    return {**found, "nearest": np.concatenate([part.numpy() for part in strategy.experimental_local_results(nearest)])}


def main(path, count):
    """Trains the scenarios in so many replicas: in one each, in three some, since a process has groups of one size."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    strategy = tf.distribute.get_strategy()
    if count > 1:
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
    found = {}
    for name in IN_THREE if count == 3 else SCENARIOS:
        settings = dataclasses.replace(SCENARIOS[name], shard_centres=count > 1)
        begun = np.random.default_rng(1).normal(size=(7, DIM)).astype(np.float32) if name == "sub-centres" else None
        values = run_steps(strategy, settings, classes_of(name), begun)
        found |= {f"{name}/{key}": value for key, value in values.items()}
    np.savez(path, **found)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
