"""SIGTERM to one of several workers: all of them stop after the same step, once its checkpoint is written."""

import signal
import time
from types import FrameType
from typing import Self

import tensorflow as tf

from trainer_module.workers.distribution import agreed, is_chief, summed

_SECONDS_BETWEEN_TALKS = 2.0


class StopTogether:
    """Says after each step whether training stops there: the same to all workers, each of whom asks after each step.

    Who stops alone leaves the others in the next all-reduce. So all talk at the same steps, about every two seconds,
    since a talk takes some milliseconds. A worker hears SIGTERM as often as it comes: where it goes to a whole group of
    processes, the supervisor sends another one. As a context manager it listens.
    """

    def __init__(self, strategy: tf.distribute.Strategy, at_most: int) -> None:
        """Keeps whom to talk to.

        Args:
          strategy: of all workers.
          at_most: steps between two talks, however short they are.
        """
        self._strategy, self._at_most = strategy, at_most
        self._asked = self._stopped = False
        self._done, self._talked, self._next = 0, 0, 1
        self._talked_at = time.monotonic()

    def __call__(self) -> bool:
        """Whether training stops after this step, since one of the workers was asked to."""
        self._done += 1
        if self._done < self._next:
            return False
        now = time.monotonic()
        steps = int(_SECONDS_BETWEEN_TALKS * (self._done - self._talked) / (now - self._talked_at))
        # Whole numbers, whose sum is the same to all in whatever order it is made.
        asked, steps_of_all = summed(self._strategy, [self._asked, min(max(steps, 1), self._at_most)])
        self._talked, self._talked_at = self._done, now
        self._next = self._done + int(steps_of_all) // self._strategy.num_replicas_in_sync
        self._stopped = asked > 0
        return self._stopped

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def __enter__(self) -> Self:
        """Listens, also to the end of the process: TensorFlow listened since the strategy was made."""
        signal.signal(signal.SIGTERM, self._ask)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which `nohup` has it do
            signal.signal(signal.SIGHUP, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """After a stop, waits until the checkpoint is written: who leaves before ends the others.

        Raises:
          KeyboardInterrupt: training was stopped.
        """
        if kind is None and self._stopped:
            try:
                agreed(self._strategy, False)
            except tf.errors.OpError:
                if not is_chief(self._strategy):  # which wrote it; if it is lost, so may its checkpoint be
                    raise
            raise KeyboardInterrupt
