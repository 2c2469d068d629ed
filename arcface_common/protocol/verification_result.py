"""What the verification protocol says about one model on one set."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from arcface_common.protocol.conditions import Cut


@dataclasses.dataclass(frozen=True)
class VerificationResult:
    """What the protocol says about one model on one set of N pairs. All rates are 0..1, all spreads population std.

    A figure that the pairs cannot bear is None, and `undefined` says why (see `arcface_common.protocol.support`).

    Attributes:
      pairs: N.
      far_target: the false accept rate aimed at.
      accuracies: accuracy of each fold; empty where `accuracy` is None.
      thresholds: threshold of each fold, on squared distance, 0..3.99; empty where `accuracy` is None.
      tar_at_far: TAR of all pairs by FAR, 1e-2 to 1e-6.
      xnorm: mean length of the raw embeddings, image and mirror; None where no norms were given.
      folds: how folds were cut: "contiguous", in file order as published, or "stratified" (see `insightface.evaluate`).
      undefined: figure -> why it is None. Of `tar_at_far`, a figure is e.g. "tar_at_far 0.001".
      correct: bool [N], read-only: whether each pair was judged correctly at its own fold's threshold; None where
        `accuracy` is.
      warnings: what a reader of the figures must know, some sentences each.
      accuracy: mean over folds of the accuracy at the threshold that was best on the other folds.
      accuracy_std: its spread over folds.
      accuracy_ci: 95 % bootstrap interval of the share of correct pairs (`bootstrap_accuracy`).
      threshold: mean over folds of their thresholds, the one to ship.
      threshold_std: their spread.
      best_threshold: threshold that is best on all pairs at once, 0..3.99.
      tar: mean over folds of the true accept rate at the threshold that meets `far_target` on the other folds.
      tar_std: its spread over folds.
      far: mean over folds of the false accept rate at the same thresholds.
      tar_threshold: mean of those thresholds, 0..4.
      tar_1e2: as `tar`, at a false accept rate of 1e-2, which takes a tenth of the pairs that 1e-3 takes.
      auc: area under the ROC of all pairs.
      eer: equal error rate of all pairs.
    """

    pairs: int
    far_target: float
    accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]
    tar_at_far: Mapping[float, float | None]
    xnorm: float | None
    folds: Cut
    undefined: Mapping[str, str]
    correct: np.ndarray | None = dataclasses.field(repr=False, compare=False)
    warnings: tuple[str, ...] = ()
    accuracy: float | None = None
    accuracy_std: float | None = None
    accuracy_ci: tuple[float, float] | None = None
    threshold: float | None = None
    threshold_std: float | None = None
    best_threshold: float | None = None
    tar: float | None = None
    tar_std: float | None = None
    far: float | None = None
    tar_threshold: float | None = None
    tar_1e2: float | None = None
    auc: float | None = None
    eer: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows.

        FAR targets become keys such as "0.001", and `correct` becomes `wrong_pairs`, the indices it is false at: a few
        dozen numbers for a good model, from which `correct` can be made again.
        """
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "correct"}
        for name in ("accuracies", "thresholds", "warnings"):
            values[name] = list(values[name])
        values["accuracy_ci"] = None if self.accuracy_ci is None else list(self.accuracy_ci)
        values["undefined"] = dict(self.undefined)
        values["tar_at_far"] = {f"{far:g}": tar for far, tar in self.tar_at_far.items()}
        values["wrong_pairs"] = None if self.correct is None else np.flatnonzero(~self.correct).tolist()
        return values
