"""A copy of a training's state, which a thread writes while the training goes on."""

import collections
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import tensorflow as tf

from arcface_common.console import say
from trainer_module.training.state import TrainState


class BackgroundWriter:
    """Takes a copy of the state between two steps, and has a thread write it; as a context manager it waits at the end.

    One copy is held, in the host's memory: who writes again waits for the write before. TensorFlow shares the values
    at first, so that the pause is short: a variable is copied when the next step changes it.
    """

    def __init__(self, create: Callable[[], TrainState] | None) -> None:
        """Makes the copy.

        Args:
          create: makes a state with the variables of the training's; None in a worker whose copy nobody keeps.
        """
        with tf.device("/cpu:0"):
            self._copy = None if create is None else create()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def write(self, state: TrainState, save: Callable[[TrainState], None]) -> None:
        """Takes the copy, and begins to write it.

        Every worker calls this: see `TrainState.values`.

        Args:
          state: of the training.
          save: writes the copy, in the thread.

        Raises:
          Exception: what the write before ended with.
        """
        self.wait()
        values = state.values(kept=self._copy is not None)
        if self._copy is None:
            collections.deque(values, maxlen=0)
            return
        for own, value in zip(self._copy.variables(), values, strict=True):
            own.assign(value)
        self._writing = self._executor.submit(save, self._copy)

    def check(self) -> None:
        """Raises what a write has ended with, if it has ended and that badly; waits for nothing."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Waits for what is being written.

        Raises:
          Exception: what it ended with; once.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> Self:
        """The writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Waits; after an error, what the write ended with is said beside it."""
        try:
            self.wait()
        except Exception as failed:
            if error is None:
                raise
            say(f"WARNING {failed}")
        finally:
            self._executor.shutdown()
