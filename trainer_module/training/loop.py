"""The training loop: one `strategy.run` a step, for one process or many.

tf_keras layers with an own loop, since Keras 3's `fit` fails under MultiWorkerMirroredStrategy (keras#20585).
"""

import collections
import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tqdm

from arcface_common.console import begun_anew, progress, say
from arcface_common.errors import DataError
from arcface_common.gpus import find_gpus
from trainer_module.backbones.summary import summarize
from trainer_module.data.holdout import HoldoutEvaluation
from trainer_module.data.input_pipeline import images_that_decode, record_keys, training_batches
from trainer_module.training import resumption
from trainer_module.training.background import BackgroundWriter
from trainer_module.training.best import BestCheckpoint
from trainer_module.training.curve import Curve
from trainer_module.training.devices import say_devices
from trainer_module.training.examples import show_augmentation
from trainer_module.training.first_centres import begin_at_data
from trainer_module.training.hooks import Hook, Metrics, is_due, report
from trainer_module.training.hooks.finite import Finite
from trainer_module.training.hooks.judge import JudgeHoldout, JudgeSets
from trainer_module.training.hooks.keep import KeepProgress, KeepResult
from trainer_module.training.hooks.report import Report
from trainer_module.training.hooks.tell import SaveCurve, Tell
from trainer_module.training.outlook import outlook
from trainer_module.training.start import identities_of
from trainer_module.training.state import TrainState, create_state, number_of_classes
from trainer_module.training.step import make_train_step
from trainer_module.training.verification import Verification
from trainer_module.workers import distribution
from trainer_module.workers.heartbeat import beat
from trainer_module.workers.job import TrainingJob
from trainer_module.workers.stop_together import StopTogether
from trainer_module.workers.stopping import stop_asked

Call = Callable[[int, TrainState, Metrics], None]  # of a hook


def train(job: TrainingJob) -> None:
    """Trains, or goes on with a training that was stopped.

    Writes `checkpoint/`, `curve.csv`, with a hold-out split `holdout.json`, and with verification sets `verified.json`
    to `run_dir`; `tensorboard/` too, or to `work_dir` if there is one.

    Deterministic by seed on one CPU process up to the order of floating-point sums in multi-threaded kernels.

    Raises:
      FloatingPointError: the loss is no longer a number.
    """
    settings = job.settings
    strategy = distribution.make_strategy(settings)
    classes = number_of_classes(job.train.transform_graph)
    identities = identities_of(job.train.transform_graph) if settings.init_centres == "kept" else ()

    def create() -> TrainState:
        with strategy.scope():
            return create_state(settings, classes, identities)

    def copy() -> TrainState:
        """On the host, split over nothing; it takes its values from elsewhere."""
        with tf.device("/cpu:0"):
            return create_state(settings, classes, seeded=True)

    state, begun, curve = resumption.resume(create, copy, job.work_dir)
    batches = strategy.distribute_datasets_from_function(
        lambda context: training_batches(job.train, settings, context, first_step=begun)
    )
    steps = [make_train_step(strategy, state, settings, frozen=frozen) for frozen in (False, True)]
    iterator = iter(batches)
    # Who joined a cluster has a run of its own on each host, and each keeps the model.
    is_chief = settings.join_cluster or distribution.is_chief(strategy)
    if is_chief:
        say_devices(strategy, find_gpus())
        counts = job.train.noted_counts()
        say(outlook(settings, summarize(state.backbone), classes, None if counts is None else sum(counts)))
        if state.begun_from and not begun:
            say(state.begun_from)
        if begun:
            say(f"  training goes on from step {begun:,} of {settings.steps:,}")
    if settings.init_centres == "data" and settings.steps and not begun:
        begin_at_data(strategy, state, job.train, settings, classes, show=is_chief)
    images = settings.steps * settings.batch_size
    bar = progress(
        total=images,
        initial=begun * settings.batch_size,
        description="training",
        unit="img",
        leave=True,
        disable=not is_chief,
    )
    stopping: contextlib.AbstractContextManager[Callable[[], bool]] = stop_asked(listen=bool(job.work_dir))
    if settings.workers > 1 and job.work_dir:
        stopping = StopTogether(strategy, settings.log_every)
    copied = is_chief and (job.work_dir or settings.keep == "best" or state.head.shards)
    writer = BackgroundWriter(copy if copied else None)
    with stopping as stops, _summaries(job, is_chief), bar, writer:
        if is_chief and settings.augment and not begun:
            show_augmentation(job.train, settings)
        finite = Finite(settings, functools.partial(record_keys, job.train, settings))
        keep = KeepProgress(strategy, writer, finite, curve, job.work_dir, settings, is_chief=is_chief)
        hooks = [finite, *_hooks(job, strategy, state, curve, bar, writer, is_chief), *([keep] if job.work_dir else [])]
        history = collections.deque[dict[str, Any]](maxlen=settings.log_every)
        hooks_seconds, since = 0.0, time.monotonic()
        for done in range(begun + 1, settings.steps + 1):
            with images_that_decode():
                history.append(steps[done <= settings.freeze_steps](iterator))
            beat(done)
            if done == begun + 1:
                first_seconds = time.monotonic() - since
                begun_anew(bar, settings.batch_size)
            else:
                bar.update(settings.batch_size)
            due: list[Call] = [hook for hook in hooks if is_due(hook, done, settings.steps)]
            stop = done < settings.steps and stops()
            # What follows the last step may take minutes: who is stopped in it takes that step again.
            ends = bool(job.work_dir) and done == settings.steps - 1
            if stop or ends:
                due = [*(hook for hook in due if hook is not keep), keep.write]  # once, whether it is time or not
            if due:
                for values in history:
                    values |= {name: float(value) for name, value in values.items()}  # waits until the step is done
                paused = time.monotonic()
                metrics = Metrics(tuple(history), done - begun, paused - since - hooks_seconds, first_seconds)
                for call in due:
                    call(done, state, metrics)
                    beat(done)  # a deadline holds for each of them
                hooks_seconds += time.monotonic() - paused
            if stop:
                writer.wait()
                if is_chief:
                    # Of several workers one alone may have been asked: then all begin again by themselves.
                    then = ": the same command goes on from there" if settings.workers == 1 else ""
                    say(f"  stopped after step {done:,} of {settings.steps:,}{then}")
                break


def _hooks(
    job: TrainingJob,
    strategy: tf.distribute.Strategy,
    state: TrainState,
    curve: Curve,
    bar: tqdm.tqdm,
    writer: BackgroundWriter,
    is_chief: bool,
) -> list[Hook]:
    """This process's hooks, in the order of their calls: the chief has all, others the collective ones."""
    settings, run_dir = job.settings, job.run_dir
    shown = dict[str, str]()

    def show(name: str, value: str) -> None:
        shown[name] = value
        bar.set_postfix(shown, refresh=False)

    hooks: list[Hook] = [Tell(settings, curve, show), *([Report(settings)] if report.URL in os.environ else [])]
    holdout = None
    if job.holdout:
        # In the memory that a step has.
        part = dataclasses.replace(settings, batch_size=settings.batch_size // settings.accumulate, accumulate=1)
        holdout = HoldoutEvaluation(strategy, state.backbone, state.head, job.holdout, part)
        hooks.append(JudgeHoldout(settings.holdout_every, holdout, curve, show, run_dir, is_chief=is_chief))
    best = None
    if settings.keep == "best":
        best = BestCheckpoint(strategy, writer, job.work_dir or run_dir, holdout, is_chief=is_chief)
    if job.pairs:
        verification = Verification(settings, job.pairs) if is_chief else None
        if verification and best:
            verification.check_bears_accuracy()
        hooks.append(JudgeSets(settings.verify_every, verification, show, run_dir, best))
    hooks += [KeepResult(run_dir, writer, best, is_chief=is_chief), SaveCurve(curve, run_dir)]
    return [hook for hook in hooks if hook.collective or is_chief]


@contextlib.contextmanager
def _summaries(job: TrainingJob, is_chief: bool) -> Iterator[None]:
    """TensorBoard's events, of the chief alone.

    Raises:
      DataError: the disk that they are written to is full.
    """
    if not is_chief:
        yield
        return
    folder = resumption.tensorboard_folder(job.work_dir, job.run_dir)
    try:
        with tf.summary.create_file_writer(folder).as_default():
            yield
    except tf.errors.ResourceExhaustedError as error:
        if "No space left" not in str(error):  # a GPU's memory
            raise
        raise DataError(
            f"{folder}: expected to write TensorBoard's events; checkpoints stay, and the same command goes on from "
            "the last one. Received: no space left on device"
        ) from error
