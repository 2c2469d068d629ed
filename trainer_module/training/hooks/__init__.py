"""Hooks: what the loop does between steps. Each lives in a module of its own and knows nothing of the others."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from trainer_module.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Metrics:
    """What a step came to.

    Attributes:
      values: the step's own, as `make_train_step` names them.
      steps: how many this process has done so far.
      seconds: time that they have taken, without that of hooks.
    """

    values: Mapping[str, float]
    steps: int
    seconds: float


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
