"""Hooks: what the loop does between steps. Each lives in a module of its own and knows nothing of the others."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from trainer_module.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Metrics:
    """What the last steps came to.

    Attributes:
      history: of each step, the last one at the end, as `make_train_step` names its values: those of the last
        `train.log_every`, or as many as this process has done.
      steps: how many this process has done so far.
      seconds: time that they have taken, without that of hooks.
      first_seconds: time that the first of them took, in which the graph is made.
    """

    history: Sequence[Mapping[str, float]]
    steps: int
    seconds: float
    first_seconds: float

    @property
    def values(self) -> Mapping[str, float]:
        """The last step's."""
        return self.history[-1]


class Hook(Protocol):
    """Something that is done every so many steps.

    Attributes:
      every: steps between two calls; 0 calls once, after the last step. The last step always calls.
      collective: every worker takes part, since it reads or runs what is spread over all; others are the chief's alone.
    """

    every: int
    collective: bool

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Does it, after `step` steps."""


def is_due(hook: Hook, step: int, last: int) -> bool:
    """Whether a hook's turn is after so many steps of a training of `last`."""
    return step == last or bool(hook.every and step % hook.every == 0)
