"""What a worker process is told: where the data is, where results go, how to train."""

import dataclasses
import json
from typing import Self

from trainer_module.data.pairs import PairSplits
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """What a worker process needs to train; travels to it as JSON.

    Attributes:
      train: the split that is trained on.
      run_dir: receives what the training comes to.
      settings: how to train.
      holdout: the hold-out split; None evaluates nothing while training.
      pairs: the verification sets that judge while training; None judges by none.
      work_dir: receives what lets a training go on that was stopped, and TensorBoard's events until it ends; empty
        keeps none, and a training that was stopped begins anew.
    """

    train: Split
    run_dir: str
    settings: TrainSettings
    holdout: Split | None = None
    pairs: PairSplits | None = None
    work_dir: str = ""

    def to_json(self) -> str:
        """The job as JSON text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        values = json.loads(text)
        values["settings"] = TrainSettings.from_dict(values["settings"])
        for name in ("train", "holdout"):
            values[name] = values[name] and Split(**values[name])
        values["pairs"] = values["pairs"] and PairSplits(**values["pairs"])
        return cls(**values)
