"""Settings of a training that are shares of its steps, and keep them where it gets another length."""

from collections.abc import Mapping
from typing import Any

from arcface_common.errors import DataError, is_number

SHARES = ("warmup_steps", "margin_warmup_steps", "freeze_steps", "milestones")


def share(steps: Any, of: float) -> Any:
    """A number of steps, or a list of them, for a training that is so many times as long; what is none stays."""
    if isinstance(steps, list | tuple):
        return type(steps)(share(one, of) for one in steps)
    return round(steps * of) if is_number(steps) else steps


def of_length(settings: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Settings of a training for another number of steps.

    Args:
      settings: fields of TrainSettings, as JSON has them; `steps` is positive.
      steps: how many there are to be.

    Raises:
      DataError: none.
    """
    if steps < 1:
        raise DataError(f"steps: expected at least 1; a pipeline without training is compiled so. Received: {steps}")
    shares = {name: share(settings[name], steps / settings["steps"]) for name in SHARES if name in settings}
    return {**settings, **shares, "steps": steps}
