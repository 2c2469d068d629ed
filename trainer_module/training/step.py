"""One optimizer step over all replicas."""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from trainer_module.data.images import to_input
from trainer_module.data.input_pipeline import mirror
from trainer_module.optimization.optimizers import decayed
from trainer_module.optimization.schedules import margin_at
from trainer_module.settings import TrainSettings
from trainer_module.training.state import TrainState

TrainStep = Callable[[Iterator[Any]], dict[str, tf.Tensor]]


def make_train_step(strategy: tf.distribute.Strategy, state: TrainState, settings: TrainSettings) -> TrainStep:
    """One optimizer step over all replicas, as a graph.

    The loss is the sum over a replica's images divided by the GLOBAL batch, and the penalty is divided by the number of
    replicas, since the optimizer sums gradients over replicas.

    Returns:
      A function of a distributed iterator that gives float32 scalars: `loss` (the head's, with the margin), `penalty`
      (the L2 term), `l2_factor` (its factor, see `train.l2_decay`), `accuracy` (nearest class centre without margin),
      `norm` (mean length of the raw embeddings), `gradient_norm` (of the sum over replicas, which the optimizer
      applies, before clipping).
    """
    replicas = strategy.num_replicas_in_sync
    pixel_format = settings.pixel_format()
    # AdamW decays by itself, decoupled from the gradient.
    kernels = decayed(state.backbone) if settings.optimizer == "sgd" else []

    def one_replica(pixels: tf.Tensor, class_index: tf.Tensor, mirrored: tf.Tensor) -> dict[str, tf.Tensor]:
        if settings.flip:
            pixels = mirror(pixels, mirrored)
        done = state.optimizer.iterations
        margin = margin_at(done, settings.full_margin(), settings.margin_warmup_steps)
        with tf.GradientTape() as tape:
            embeddings = state.backbone(to_input(pixels, pixel_format), training=True)
            losses, hits, centres = state.head.loss(embeddings, class_index, margin, done)
            loss = tf.reduce_sum(losses) / settings.batch_size
            squares = [tf.nn.l2_loss(v) for v in (*kernels, centres)] if settings.optimizer == "sgd" else []
            penalty = state.l2_factor * (settings.weight_decay * tf.add_n(squares or [tf.constant(0.0)]) / replicas)
            total = loss + penalty
        variables = state.trainable_variables()
        gradients = tape.gradient(total, variables)
        summed = state.optimizer.aggregate_gradients(list(zip(gradients, variables, strict=True)))
        state.optimizer.apply_gradients(summed, skip_gradients_aggregation=True)
        return {
            "loss": loss,
            "penalty": penalty,
            "accuracy": tf.reduce_sum(tf.cast(hits, tf.float32)) / settings.batch_size,
            "norm": tf.reduce_sum(tf.norm(embeddings, axis=1)) / settings.batch_size,
            "gradient_norm": tf.linalg.global_norm([gradient for gradient, _ in summed]) / replicas,
        }

    @tf.function
    def step(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        per_replica = strategy.run(one_replica, args=next(iterator))
        values = {name: strategy.reduce("sum", value, axis=None) for name, value in per_replica.items()}
        values["l2_factor"] = tf.identity(state.l2_factor)
        if settings.l2_decay < 1.0:
            too_large = values["penalty"] > values["loss"]
            state.l2_factor.assign(values["l2_factor"] * tf.where(too_large, settings.l2_decay, 1.0))
        return values

    return step
