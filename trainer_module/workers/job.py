"""What a worker process is told: where the data is, where results go, how to train."""

import dataclasses
import json
from typing import Self

from trainer_module.settings import TrainSettings


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """What a worker process needs to train; travels to it as JSON.

    Attributes:
      train_patterns: globs of the train split's TFRecord shards.
      transform_graph: path of Transform's output.
      run_dir: receives `checkpoint/` and `tensorboard/`.
      settings: how to train.
      holdout_patterns: globs of the hold-out split's shards; none evaluates nothing while training.
      any_size: images may have other sizes than 112x112, and are resized.
    """

    train_patterns: list[str]
    transform_graph: str
    run_dir: str
    settings: TrainSettings
    holdout_patterns: list[str] = dataclasses.field(default_factory=list)
    any_size: bool = False

    def to_json(self) -> str:
        """The job as JSON text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        values = json.loads(text)
        return cls(**{**values, "settings": TrainSettings.from_dict(values["settings"])})
