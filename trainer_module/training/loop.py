"""The training loop: one `strategy.run` a step, for one process or many.

tf_keras layers with an own loop, since Keras 3's `fit` fails under MultiWorkerMirroredStrategy (keras#20585).
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras

from arcface_common import features
from arcface_common.console import progress
from arcface_common.run_log import note
from trainer_module import backbones
from trainer_module.data.holdout import HoldoutEvaluation
from trainer_module.data.images import to_input
from trainer_module.data.input_pipeline import images_that_decode, mirror, training_batches
from trainer_module.heads.arcface import ArcFace
from trainer_module.schedules import WarmupCosine, margin_at
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints
from trainer_module.training.curve import CURVE_FILE, Curve
from trainer_module.workers import distribution
from trainer_module.workers.job import TrainingJob

_SECONDS_BETWEEN_NOTES = 10.0


@dataclasses.dataclass
class TrainState:
    """What a training run changes: the network, the class centres, the optimizer."""

    backbone: tf_keras.Model
    head: ArcFace
    optimizer: tf_keras.optimizers.Optimizer

    def checkpoint(self) -> tf.train.Checkpoint:
        """All of it, by the names that `checkpoints` reads."""
        return tf.train.Checkpoint(backbone=self.backbone, head=self.head, optimizer=self.optimizer)


def number_of_classes(transform_graph: str) -> int:
    """Identities in the training data, as Transform counted them."""
    return tft.TFTransformOutput(transform_graph).vocabulary_size_by_name(features.IDENTITY_VOCABULARY)


def create_state(settings: TrainSettings, classes: int) -> TrainState:
    """What training starts from: seeded weights, or those of `settings.init_from`, and the optimizer's empty slots."""
    tf_keras.utils.set_random_seed(settings.seed)
    backbone = backbones.build(settings.backbone, **settings.build_options())
    if settings.init_from:
        checkpoints.read_backbone(backbone, settings.init_from)
    head = ArcFace(backbone.output_shape[-1], classes, settings.scale, settings.seed)
    optimizer = _create_optimizer(settings)
    if settings.optimizer == "adamw":
        decayed = {id(v) for v in _decayed(backbone, head)}
        optimizer.exclude_from_weight_decay([v for v in backbone.trainable_variables if id(v) not in decayed])
    optimizer.build([*backbone.trainable_variables, head.centres])
    return TrainState(backbone, head, optimizer)


def _create_optimizer(settings: TrainSettings) -> tf_keras.optimizers.Optimizer:
    clip_norm = settings.clip_norm or None
    rate = WarmupCosine(settings.learning_rate, settings.warmup_steps, settings.steps)
    if settings.optimizer == "adamw":
        return tf_keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, global_clipnorm=clip_norm)
    return tf_keras.optimizers.SGD(rate, momentum=settings.momentum, global_clipnorm=clip_norm)


def _decayed(backbone: tf_keras.Model, head: ArcFace) -> list[tf.Variable]:
    """Kernels alone: decaying a bias, a batch-norm's gamma or a PReLU's slope only costs accuracy (He et al., 2019)."""
    kernels = [v for v in backbone.trainable_variables if "kernel" in v.name.rsplit("/", 1)[-1]]
    return [*kernels, head.centres]


def make_train_step(
    strategy: tf.distribute.Strategy, state: TrainState, settings: TrainSettings
) -> Callable[[Iterator[Any]], dict[str, tf.Tensor]]:
    """One optimizer step over all replicas, as a graph.

    The loss is the sum over a replica's images divided by the GLOBAL batch, and the penalty is divided by the number of
    replicas, since the optimizer sums gradients over replicas.

    Returns:
      A function of a distributed iterator that gives float32 scalars: `loss` (softmax cross-entropy with the margin),
      `penalty` (the L2 term), `accuracy` (nearest class centre without margin), `norm` (mean length of the raw
      embeddings), `gradient_norm` (of the sum over replicas, which the optimizer applies, before clipping).
    """
    replicas = strategy.num_replicas_in_sync
    pixel_format = settings.pixel_format()
    # AdamW decays by itself, decoupled from the gradient.
    decayed = _decayed(state.backbone, state.head) if settings.optimizer == "sgd" else []

    def one_replica(pixels: tf.Tensor, class_index: tf.Tensor, mirrored: tf.Tensor) -> dict[str, tf.Tensor]:
        if settings.flip:
            pixels = mirror(pixels, mirrored)
        margin = margin_at(state.optimizer.iterations, settings.margin, settings.margin_warmup_steps)
        with tf.GradientTape() as tape:
            embeddings = state.backbone(to_input(pixels, pixel_format), training=True)
            cosines = state.head.cosines(embeddings)
            logits = state.head.logits(cosines, class_index, margin)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(class_index, logits)
            loss = tf.reduce_sum(losses) / settings.batch_size
            penalty = settings.weight_decay * sum((tf.nn.l2_loss(v) for v in decayed), tf.constant(0.0)) / replicas
            total = loss + penalty
        variables = [*state.backbone.trainable_variables, state.head.centres]
        gradients = tape.gradient(total, variables)
        summed = state.optimizer.aggregate_gradients(list(zip(gradients, variables, strict=True)))
        state.optimizer.apply_gradients(summed, skip_gradients_aggregation=True)
        hits = tf.cast(tf.equal(tf.argmax(cosines, axis=1), class_index), tf.float32)
        return {
            "loss": loss,
            "penalty": penalty,
            "accuracy": tf.reduce_sum(hits) / settings.batch_size,
            "norm": tf.reduce_sum(tf.norm(embeddings, axis=1)) / settings.batch_size,
            "gradient_norm": tf.linalg.global_norm([gradient for gradient, _ in summed]) / replicas,
        }

    @tf.function
    def step(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        per_replica = strategy.run(one_replica, args=next(iterator))
        return {name: strategy.reduce("sum", value, axis=None) for name, value in per_replica.items()}

    return step


def train(job: TrainingJob) -> None:
    """Trains; writes `checkpoint`, `tensorboard`, `curve.csv` and, with a hold-out split, `holdout.json` to `run_dir`.

    Deterministic by seed on one CPU process up to the order of floating-point sums in multi-threaded kernels.

    Raises:
      FloatingPointError: the loss is no longer a number.
    """
    settings = job.settings
    strategy = distribution.make_strategy(settings)
    classes = number_of_classes(job.transform_graph)
    with strategy.scope():
        state = create_state(settings, classes)
    batches = strategy.distribute_datasets_from_function(
        lambda context: training_batches(
            job.train_patterns, job.transform_graph, settings, context, any_size=job.any_size
        )
    )
    step = make_train_step(strategy, state, settings)
    # Who joined a cluster has a run of its own on each host, and each keeps the model.
    is_chief = settings.join_cluster or distribution.is_chief(strategy)
    holdout = HoldoutEvaluation(strategy, state.backbone, state.head, job) if job.holdout_patterns else None
    tensorboard = os.path.join(job.run_dir, "tensorboard")
    writer = tf.summary.create_file_writer(tensorboard) if is_chief else tf.summary.create_noop_writer()
    images = settings.steps * settings.batch_size
    iterator = iter(batches)
    result = None
    told = _Told(settings, is_chief)
    bar = progress(total=images, description="training", unit="img", leave=True, disable=not is_chief)
    with writer.as_default(), bar:
        logged, logged_at = 0, time.monotonic()
        shown: dict[str, str] = {}
        for done in range(1, settings.steps + 1):
            with images_that_decode():
                metrics = step(iterator)
            if done == 1:
                distribution.mark_started()
            bar.update(settings.batch_size)
            if done % settings.log_every == 0 or done == settings.steps:
                values = _finite({name: float(value) for name, value in metrics.items()}, done)
                step_seconds = (time.monotonic() - logged_at) / (done - logged)
                logged, logged_at = done, time.monotonic()
                _write_summaries(values, done, settings, step_seconds)
                told.batch(done, values, step_seconds)
                shown |= {"loss": f"{values['loss']:.2f}", "top-1": f"{values['accuracy']:.2f}"}
                bar.set_postfix(shown, refresh=False)
            if holdout and _is_evaluated(done, settings):
                began = time.monotonic()
                result = holdout.evaluate(done, show=is_chief)
                logged_at += time.monotonic() - began  # images/s are those of training alone
                tf.summary.scalar("holdout_accuracy", result.accuracy, step=done)
                told.holdout(done, result.accuracy)
                shown["held-out top-1"] = f"{result.accuracy:.3f}"
                bar.set_postfix(shown, refresh=False)
    checkpoints.write(state.checkpoint(), job.run_dir, is_chief)
    if is_chief:
        told.write(job.run_dir)
    if result and is_chief:
        result.write(job.run_dir)


class _Told:
    """What the chief tells of a training: a line in the run's log every 10 s, and the curve.

    An image "top-1" is one whose nearest class centre is its own: people that were trained on, and so never called
    accuracy, which is that of verification.
    """

    def __init__(self, settings: TrainSettings, is_chief: bool) -> None:
        self._settings, self._is_chief = settings, is_chief
        self._curve = Curve()
        self._noted_at = -math.inf

    def batch(self, step: int, values: dict[str, float], step_seconds: float) -> None:
        """Takes down a step's metrics."""
        self._curve.batch(step, values["loss"], values["accuracy"])
        now = time.monotonic()
        if self._is_chief and (now - self._noted_at >= _SECONDS_BETWEEN_NOTES or step == self._settings.steps):
            self._noted_at = now
            rate = self._settings.batch_size / step_seconds
            note(
                f"    step {step:,} of {self._settings.steps:,}: loss {values['loss']:.4g}, "
                f"top-1 {values['accuracy']:.4f}, {rate:,.0f} images/s"
            )

    def holdout(self, step: int, top_1: float) -> None:
        """Takes down what the held-out images came to."""
        self._curve.holdout(step, top_1)
        if self._is_chief:
            note(f"    step {step:,}: held-out top-1 {top_1:.4f}")

    def write(self, run_dir: str) -> None:
        """Writes the curve aside, then renames it into place."""
        aside = os.path.join(run_dir, f".{CURVE_FILE}-{os.getpid()}")
        with tf.io.gfile.GFile(aside, "w") as file:
            file.write(self._curve.to_csv())
        tf.io.gfile.rename(aside, os.path.join(run_dir, CURVE_FILE), overwrite=True)


def _is_evaluated(done: int, settings: TrainSettings) -> bool:
    """Whether the hold-out split's turn is after so many steps."""
    return done == settings.steps or bool(settings.holdout_every and done % settings.holdout_every == 0)


def _finite(values: dict[str, float], step: int) -> dict[str, float]:
    """The same values.

    Raises:
      FloatingPointError: the loss is not among the numbers.
    """
    if not math.isfinite(values["loss"]):
        raise FloatingPointError(
            f"expected a finite loss; try a lower train.learning_rate, a longer train.warmup_steps or "
            f"train.clip_norm. Received: loss={values['loss']} at step {step}"
        )
    return values


def _write_summaries(values: dict[str, float], step: int, settings: TrainSettings, step_seconds: float) -> None:
    """One point of every curve in TensorBoard: `step` is the number of steps done, this one among them."""
    before = tf.constant(step - 1)  # the optimizer's count while the step ran, which its rate and margin go by
    rate = float(WarmupCosine(settings.learning_rate, settings.warmup_steps, settings.steps)(before))
    margin = float(margin_at(before, settings.margin, settings.margin_warmup_steps))
    schedule = {"learning_rate": rate, "margin": margin, "images_per_second": settings.batch_size / step_seconds}
    for name, value in {**values, **schedule}.items():
        tf.summary.scalar(name, value, step=step)
