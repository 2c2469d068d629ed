"""A network that numpy can follow: block means, dense layer, PReLU, normalisation, and a few steps of training it.

Run as a program it trains each scenario on two replicas, which are two CPUs of one process: TensorFlow must be told of
them before it starts.
"""

import dataclasses
import sys
import tempfile

import numpy as np
import tensorflow as tf
import tf_keras

from arcface_common.model_metadata import ModelMetadata
from trainer_module import normalization
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints
from trainer_module.training.state import create_state
from trainer_module.training.step import make_train_step

STEPS, BATCH, CLASSES, DIM, BLOCK, EPSILON = 3, 8, 5, 6, 28, 1e-3
SETTINGS = TrainSettings(
    backbone="tests.trainer_module.tiny_network:tiny_network",
    embedding_dim=DIM,
    batch_size=BATCH,
    steps=10,
    warmup_steps=2,
    margin=0.5,
    margin_warmup_steps=2,
    learning_rate=0.05,
    weight_decay=0.05,
    scale=8.0,
)
# A step of AdamW is as long as the learning rate; the decay of a gamma would be half of that.
_ADAMW = dataclasses.replace(SETTINGS, optimizer="adamw", weight_decay=0.5)
# Gradients of float16 that 2^15 times themselves don't let overflow.
_FLOAT16 = {"precision": "mixed_float16", "scale": 0.5}
_FROZEN = {"freeze_steps": 1, "init_from": "a run of this network"}
SCENARIOS = {
    "sgd": SETTINGS,
    "sgd, no mirroring": dataclasses.replace(SETTINGS, flip=False),
    "sgd, clipped": dataclasses.replace(SETTINGS, clip_norm=0.5),
    "step": dataclasses.replace(SETTINGS, schedule="step", warmup_steps=0, milestones=(1, 2), decay_factor=0.3),
    "polynomial": dataclasses.replace(SETTINGS, schedule="polynomial", warmup_steps=1, power=1.5),
    "decaying L2": dataclasses.replace(SETTINGS, weight_decay=1.1, l2_decay=0.8),
    "adamw": _ADAMW,
    "adamw, clipped": dataclasses.replace(_ADAMW, clip_norm=0.5),
    "accumulated": dataclasses.replace(SETTINGS, accumulate=2, weight_decay=1.1, l2_decay=0.8),
    "accumulated, clipped adamw": dataclasses.replace(_ADAMW, accumulate=2, clip_norm=0.5),
    "accumulated batch_renorm": dataclasses.replace(SETTINGS, accumulate=2, norm="batch_renorm"),
    "mixed_float16": dataclasses.replace(SETTINGS, **_FLOAT16, clip_norm=0.1, accumulate=2),
    "mixed_bfloat16": dataclasses.replace(SETTINGS, precision="mixed_bfloat16"),
    "mixed_float16, adamw": dataclasses.replace(_ADAMW, **_FLOAT16),
    "jit": dataclasses.replace(SETTINGS, jit=True, clip_norm=0.5),
    "jit, accumulated": dataclasses.replace(SETTINGS, jit=True, accumulate=2),
    "slow, clipped": dataclasses.replace(SETTINGS, backbone_rate=0.3, clip_norm=0.5),
    "slow adamw": dataclasses.replace(_ADAMW, backbone_rate=0.3),
    "frozen": dataclasses.replace(SETTINGS, **_FROZEN, backbone_rate=0.3, weight_decay=1.1, l2_decay=0.8),
    "frozen, accumulated": dataclasses.replace(SETTINGS, **_FROZEN, accumulate=2, clip_norm=0.5),
    "frozen adamw": dataclasses.replace(_ADAMW, **_FROZEN, backbone_rate=0.3),
    "frozen, mixed_float16": dataclasses.replace(SETTINGS, **_FROZEN, **_FLOAT16),
    "frozen, jit": dataclasses.replace(SETTINGS, **_FROZEN, jit=True),
    "frozen batch_renorm": dataclasses.replace(SETTINGS, **_FROZEN, norm="batch_renorm"),
    "sync_batch": dataclasses.replace(SETTINGS, norm="sync_batch"),
}


def tiny_network(*, name, embedding_dim, dropout, norm):
    """float32 [N, 112, 112, 3] -> float32 [N, embedding_dim]."""
    image = tf_keras.Input((112, 112, 3))
    x = tf_keras.layers.Flatten()(tf_keras.layers.AveragePooling2D(BLOCK, dtype=tf.float32.name)(image))
    x = tf_keras.layers.PReLU(name="prelu")(tf_keras.layers.Dense(embedding_dim, name="fc")(x))
    told = {"channels": embedding_dim, "epsilon": EPSILON, "momentum": 0.9, "vector": True, "dtype": tf.float32.name}
    x = normalization.create(norm, name="embedding", **told)(x)
    return tf_keras.Model(image, x, name=name)


class Branching(tf_keras.layers.Layer):
    """Of a user, who writes `if` where we write `tf.cond`: doubles what is bright."""

    def call(self, x):
        if tf.reduce_sum(x) > 0:
            return x * 2.0
        return x


def branching_network(*, name, embedding_dim, dropout, norm):
    """As `tiny_network`."""
    image = tf_keras.Input((112, 112, 3))
    x = tf_keras.layers.Flatten()(tf_keras.layers.AveragePooling2D(BLOCK, dtype="float32")(image))
    return tf_keras.Model(image, tf_keras.layers.Dense(embedding_dim, name="fc")(Branching()(x)), name=name)


def images():
    """Pixels uint8 [steps, batch, 112, 112, 3], class of each, and whether it is to be mirrored."""
    random = np.random.default_rng(0)
    # Colours that differ from block to block: of pixels alone each block's mean would be grey.
    blocks = random.integers(0, 256, (STEPS, BATCH, 4, 4, 3), dtype=np.uint8)
    pixels = blocks.repeat(BLOCK, axis=2).repeat(BLOCK, axis=3)
    return pixels, random.integers(0, CLASSES, (STEPS, BATCH)), random.random((STEPS, BATCH)) < 0.5


def initial_weights():
    """By the names of `named`; each has a value of its own, so that a decay of gammas shows.

    The seed is one whose first gradients of bias, slope, gamma and beta are all above 0.03 of the largest: AdamW
    divides each by its own size, which would make a step of the rounding where the gradient is 0.
    """
    random = np.random.default_rng(4)
    shapes = {"kernel": (48, DIM), "bias": DIM, "alpha": DIM, "gamma": DIM, "beta": DIM, "centres": (DIM, CLASSES)}
    centre = {"alpha": 0.3, "gamma": 1.0}
    return {name: centre.get(name, 0.0) + random.normal(0, 0.2, shape) for name, shape in shapes.items()}


def named(state):
    """The trained variables by short names."""
    variables = {v.name.rsplit("/", 1)[-1].split(":")[0]: v for v in state.backbone.trainable_variables}
    return {**variables, "centres": state.head.centres}


def write_run(state, settings, folder):
    """What training leaves in a folder to start from, without labels of its identities."""
    checkpoints.write(state.checkpoint(), folder, is_chief=True)
    write_metadata(settings, folder)


def write_metadata(settings, folder):
    """The `model.json` of a training."""
    pixels, options = settings.pixel_format(), settings.build_options()
    ModelMetadata(settings.backbone, options, settings.embedding_dim, pixels, CLASSES, {}).write(folder)


def run_steps(strategy, settings):
    """Trains; returns the metrics of each step and the weights after it, with keys "STEP/NAME"."""
    with tempfile.TemporaryDirectory() as folder, strategy.scope():
        if settings.init_from:
            first = dataclasses.replace(settings, init_from="", freeze_steps=0)
            write_run(create_state(first, CLASSES), first, folder)
            settings = dataclasses.replace(settings, init_from=folder)
        state = create_state(settings, CLASSES)
    variables = named(state)
    for name, value in initial_weights().items():
        variables[name].assign(_ours(name, value).astype(np.float32))
    per_replica = BATCH // strategy.num_replicas_in_sync
    examples = [part.reshape(-1, *part.shape[2:]) for part in images()]
    batches = strategy.distribute_datasets_from_function(
        lambda context: tf.data.Dataset.from_tensor_slices(tuple(examples)).batch(per_replica)
    )
    steps = [make_train_step(strategy, state, settings, frozen=frozen) for frozen in (False, True)]
    iterator, found = iter(batches), {}
    for i in range(STEPS):
        found |= {f"{i}/{name}": float(value) for name, value in steps[i < settings.freeze_steps](iterator).items()}
        found |= {f"{i}/{name}": _theirs(name, variable.numpy()) for name, variable in variables.items()}
    return found


def _ours(name, value):
    """Class centres of the reference [D, C] as the head has them [C, 1, D]; other weights as they are."""
    return value.T[:, np.newaxis] if name == "centres" else value


def _theirs(name, value):
    """The inverse of `_ours`."""
    return value[:, 0].T if name == "centres" else value


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    replicas = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {name: run_steps(replicas, settings) for name, settings in SCENARIOS.items()}
    np.savez(sys.argv[1], **{f"{name}/{key}": value for name, of in results.items() for key, value in of.items()})
