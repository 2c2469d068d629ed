"""One optimizer step over all replicas."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from arcface_common.setting import require
from trainer_module.data.images import to_input
from trainer_module.data.input_pipeline import mirror
from trainer_module.optimization.clipping import clipped
from trainer_module.optimization.loss_scale import scale_of, scaled, summed
from trainer_module.optimization.optimizers import decayed
from trainer_module.optimization.schedules import margin_at
from trainer_module.settings import TrainSettings
from trainer_module.training.micro_batches import sum_over_parts
from trainer_module.training.state import TrainState

Sums = dict[str, tf.Tensor]  # float32 scalars, to be added up over micro-batches and replicas
TrainStep = Callable[[Iterator[Any]], Sums]


def make_train_step(
    strategy: tf.distribute.Strategy, state: TrainState, settings: TrainSettings, *, frozen: bool = False
) -> TrainStep:
    """One optimizer step over all replicas, as a graph.

    The loss is the sum over a micro-batch's images divided by the GLOBAL batch, and the penalty is divided by the
    number of all micro-batches: gradients are summed over those of a replica, and by the optimizer over replicas. Of
    centres that are split over replicas each has the whole gradient of its own.

    Args:
      strategy: what the variables were made under.
      state: what the step changes.
      settings: how.
      frozen: the backbone stays as it is, and no gradient is computed through it.

    Raises:
      ConfigError: the batch isn't `train.accumulate` equal parts for each replica.

    Returns:
      A function of a distributed iterator that gives float32 scalars: `loss` (the head's, with the margin), `penalty`
      (the L2 term), `l2_factor` (its factor, see `train.l2_decay`), `accuracy` (nearest class centre without margin),
      `norm` (mean length of the raw embeddings), `gradient_norm` (of the sum over replicas, which the optimizer
      applies, before clipping), `loss_scale` (see there; the loss and the gradient's norm are told without it),
      `input_seconds` (that this process waited for the batch).
    """
    replicas = strategy.num_replicas_in_sync
    parts = replicas * settings.accumulate  # of the global batch
    whole = settings.batch_size % parts == 0
    require(settings, "batch_size", whole, f"a multiple of {parts}, replicas x train.accumulate")
    pixel_format = settings.pixel_format()
    # AdamW decays by itself, decoupled from the gradient.
    kernels = decayed(state.backbone) if settings.optimizer == "sgd" else []
    penalized = {id(v) for v in (*kernels, *state.head.trainable_variables)} if settings.optimizer == "sgd" else set()
    held = state.frozen if frozen else contextlib.nullcontext
    with held():
        variables = state.trainable_variables()
    shards = state.head.shards
    training = not settings.frozen_statistics

    def of_part(pixels: tf.Tensor, class_index: tf.Tensor, mirrored: tf.Tensor) -> tuple[list[tf.Tensor], Sums]:
        """Gradients and sums of one micro-batch."""
        if settings.flip:
            pixels = mirror(pixels, mirrored)
        done = state.optimizer.iterations
        margin = margin_at(done, settings.full_margin(), settings.margin_warmup_steps)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)  # of what they don't reach nothing is recorded, and no activations are kept
            embeddings = tf.cast(state.backbone(to_input(pixels, pixel_format), training=training), tf.float32)
            losses, hits, centres = state.head.loss(embeddings, class_index, margin, done)
            loss = tf.reduce_sum(losses) / settings.batch_size
            total = scaled(state.optimizer, loss)
        squares = [tf.nn.l2_loss(v) for v in (*kernels, centres)] if settings.optimizer == "sgd" else []
        if squares and shards:
            squares[-1] *= parts  # each replica has other ones, and the sum over replicas is that of all
        penalty = settings.weight_decay * tf.add_n(squares or [tf.constant(0.0)]) / parts
        penalty *= state.l2_factor
        sums = {
            "loss": loss,
            "penalty": penalty,
            "accuracy": tf.reduce_sum(tf.cast(hits, tf.float32)) / settings.batch_size,
            "norm": tf.reduce_sum(tf.norm(embeddings, axis=1)) / settings.batch_size,
        }
        return tape.gradient(total, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO), sums

    if settings.jit:
        of_part = tf.function(of_part, jit_compile=True)

    def with_penalty(gradient: Any, variable: tf.Variable) -> Any:
        """A gradient of the loss and the penalty; of drawn class centres, by rows."""
        if id(variable) not in penalized:
            return gradient
        factor = settings.weight_decay * state.l2_factor
        # Without order, and on a tape, every weight's part would be made before the first layer, and held to the end.
        with tf.control_dependencies([gradient]):
            if isinstance(gradient, tf.IndexedSlices):
                rows = tf.gather(variable, gradient.indices)
                return tf.IndexedSlices(gradient.values + factor * rows, gradient.indices, gradient.dense_shape)
            return gradient + factor * variable

    def one_replica(*batch: tf.Tensor) -> Sums:
        zero = [tf.zeros(v.shape) for v in variables], dict.fromkeys(("loss", "penalty", "accuracy", "norm"), 0.0)
        gradients, sums = sum_over_parts(of_part, batch, settings.accumulate, zero)
        penalized_pairs = itertools.starmap(with_penalty, summed(state.optimizer, gradients, variables, shards))
        gradients, norm = clipped(list(penalized_pairs), len(shards), settings.clip_norm)
        state.optimizer.apply_gradients(zip(gradients, variables, strict=True), skip_gradients_aggregation=True)
        return {**sums, "gradient_norm": norm / replicas}

    @tf.function
    def step(iterator: Iterator[Any]) -> Sums:
        scale_before = tf.identity(scale_of(state.optimizer))
        asked = tf.timestamp()
        with tf.control_dependencies([asked]):
            batch = next(iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            waited = tf.cast(tf.timestamp() - asked, tf.float32)
        with held():  # while it is traced
            per_replica = strategy.run(one_replica, args=batch)
        values = {name: strategy.reduce("sum", value, axis=None) for name, value in per_replica.items()}
        values |= {"l2_factor": tf.identity(state.l2_factor), "loss_scale": scale_before, "input_seconds": waited}
        if settings.l2_decay < 1.0:
            too_large = values["penalty"] > values["loss"]
            state.l2_factor.assign(values["l2_factor"] * tf.where(too_large, settings.l2_decay, 1.0))
        return values

    return step
