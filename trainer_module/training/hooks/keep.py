"""The checkpoint."""

from trainer_module.training import checkpoints
from trainer_module.training.hooks import Metrics
from trainer_module.training.state import TrainState


class KeepCheckpoint:
    """Writes the checkpoint. Batch-norm statistics are spread over the workers: so all of them take part."""

    every, collective = 0, True

    def __init__(self, run_dir: str, *, is_chief: bool) -> None:
        """Keeps where to write.

        Args:
          run_dir: receives `checkpoint/`.
          is_chief: whether this process's copy is kept.
        """
        self._run_dir, self._is_chief = run_dir, is_chief

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Writes it."""
        checkpoints.write(state.checkpoint(), self._run_dir, self._is_chief)
