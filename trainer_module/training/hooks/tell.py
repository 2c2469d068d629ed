"""What a training tells while it runs: TensorBoard, the run's log and the progress bar."""

import datetime
import math
import time
from collections.abc import Callable

import tensorflow as tf

from arcface_common.console import say
from arcface_common.duration import in_hours
from arcface_common.run_log import note
from trainer_module.optimization.schedules import LearningRate, margin_at
from trainer_module.settings import TrainSettings
from trainer_module.training.curve import Curve
from trainer_module.training.devices import memory_in_use
from trainer_module.training.hooks import Metrics
from trainer_module.training.state import TrainState

_SECONDS_BETWEEN_NOTES = 10.0
_STEPS_TO_FORETELL = 20  # after the first, which makes the graph
_SECONDS_TO_FORETELL = 60.0  # what ends sooner is seen to end

Show = Callable[[str, str], None]  # a figure's name and value, on the progress bar


class Tell:
    """Tells a step's metrics, and adds them to the curve.

    An image "top-1" is one whose nearest class centre is its own: people that were trained on, and so never called
    accuracy, which is that of verification.
    """

    collective = False

    def __init__(self, settings: TrainSettings, curve: Curve, show: Show) -> None:
        """Tells each `settings.log_every` steps, and writes a line in the log every 10 s."""
        self.every = settings.log_every
        self._settings, self._curve, self._show = settings, curve, show
        self._told, self._noted_at, self._foretold = (0, 0.0), -math.inf, False

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Tells; what TensorBoard, log and bar show is the mean over the steps since it told last."""
        steps_before, seconds_before = self._told
        self._told = metrics.steps, metrics.seconds
        rate = self._settings.batch_size * (metrics.steps - steps_before) / (metrics.seconds - seconds_before)
        since = metrics.history[-(metrics.steps - steps_before) :]
        means = {name: sum(values[name] for values in since) / len(since) for name in metrics.values}
        means["total_loss"] = means["loss"] + means["penalty"]
        loss, top_1 = means["loss"], means["accuracy"]
        for name, value in {**means, **self._schedule(step), **memory_in_use(), "images_per_second": rate}.items():
            tf.summary.scalar(name, value, step=step)
        self._curve.batch(step, metrics.values["loss"], metrics.values["accuracy"])
        self._foretell(step, metrics)
        self._show("loss", f"{loss:.2f}")
        self._show("top-1", f"{top_1:.2f}")
        now = time.monotonic()
        if now - self._noted_at >= _SECONDS_BETWEEN_NOTES or step == self._settings.steps:
            self._noted_at = now
            of = f"step {step:,} of {self._settings.steps:,}"
            note(f"    {of}: loss {loss:.4g}, top-1 {top_1:.4f}, {rate:,.0f} images/s")

    def _foretell(self, step: int, metrics: Metrics) -> None:
        """Says once when a training of a minute or more will end, as far as its first steps tell."""
        rest = self._settings.steps - step
        if self._foretold or not rest or metrics.steps <= _STEPS_TO_FORETELL:
            return
        self._foretold = True
        seconds = (metrics.seconds - metrics.first_seconds) / (metrics.steps - 1)
        if rest * seconds < _SECONDS_TO_FORETELL:
            return
        ends = datetime.datetime.now() + datetime.timedelta(seconds=rest * seconds)
        rate = self._settings.batch_size / seconds
        say(
            f"  {rate:,.0f} images/s: about {in_hours(rest * seconds)} for {rest:,} more steps, until "
            f"{ends:%Y-%m-%d %H:%M}; checks on held-out images and sets come on top"
        )

    def _schedule(self, step: int) -> dict[str, float]:
        """What the step went by: `step` is the number of steps done, this one among them."""
        settings, before = self._settings, tf.constant(step - 1)  # the optimizer's count while the step ran
        margin = margin_at(before, settings.full_margin(), settings.margin_warmup_steps)
        return {"learning_rate": float(LearningRate(settings)(before)), "margin": float(margin)}


class SaveCurve:
    """Writes the curve beside the checkpoint."""

    every, collective = 0, False

    def __init__(self, curve: Curve, run_dir: str) -> None:
        """Keeps what to write and where."""
        self._curve, self._run_dir = curve, run_dir

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Writes it."""
        self._curve.write(self._run_dir)
