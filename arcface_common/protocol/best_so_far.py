"""The best blessed model so far on each set, which `change` is held against beside the latest.

Against the latest alone, small losses pass one after the other: 20 models, each 5 pairs of 6,000 worse than the one
before, were all blessed (0.9983 to 0.9817). The best's judgements travel from blessing to blessing, so that its model
needn't be there any more. Standard library and numpy only.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from arcface_common.errors import is_number
from arcface_common.filesystem import path_end
from arcface_common.protocol.conditions import CUTS, Cut
from arcface_common.protocol.scored_pairs import ScoredPairs


@dataclasses.dataclass(frozen=True)
class Record:
    """What one model made of a set of N pairs.

    Attributes:
      model: which it was, e.g. "Trainer/model/10".
      pairs: N.
      digest: of the pairs' images, of what is true about them, and of their order.
      folds: how they were cut.
      accuracy: mean over folds, 0..1.
      wrong_pairs: indices of the pairs that were judged wrongly.
    """

    model: str
    pairs: int
    digest: str
    folds: Cut
    accuracy: float
    wrong_pairs: list[int]

    @classmethod
    def of(cls, model: str, pairs: ScoredPairs, digest: str) -> Self | None:
        """The record of a model; None where the protocol judges nothing.

        A root may be moved, and a verdict travels with what is pushed: of the model's path, its end stays.
        """
        if pairs.accuracy is None:
            return None
        wrong = np.flatnonzero(~pairs.correct).tolist()
        return cls(path_end(model), pairs.correct.size, digest, pairs.folds, pairs.accuracy, wrong)

    @property
    def correct(self) -> np.ndarray:
        """Whether each pair was judged correctly, bool [N]."""
        correct = np.ones(self.pairs, bool)
        correct[self.wrong_pairs] = False
        return correct

    def is_of(self, pairs: ScoredPairs, digest: str) -> bool:
        """Whether it is of these pairs, in these folds."""
        return (self.digest, self.folds) == (digest, pairs.folds)


def pairs_digest(image_digests: np.ndarray, is_same: np.ndarray) -> str:
    """Digest of the pairs in their order.

    Args:
      image_digests: of the images of each pair, uint64 [N, 2].
      is_same: bool [N].
    """
    return hashlib.sha256(image_digests.astype("<u8").tobytes() + is_same.tobytes()).hexdigest()


def better(older: Record | None, newer: Record | None) -> Record | None:
    """The record of higher accuracy; the older of equals."""
    if older is None or newer is None:
        return older or newer
    return newer if newer.accuracy > older.accuracy else older


def dumps(records: Mapping[str, Record]) -> str:
    """Set -> record, as JSON."""
    return json.dumps({name: dataclasses.asdict(record) for name, record in records.items()})


def loads(text: str) -> dict[str, Record]:
    """The inverse of `dumps`.

    Raises:
      ValueError: anything else.
    """
    try:
        values: dict[str, dict[str, Any]] = json.loads(text)
        records = {name: Record(**fields) for name, fields in values.items()}
        if not all(map(_is_whole, records.values())):
            raise TypeError("a field of another type or range")
        return records
    except (TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"expected records of models by set. Received: {text[:80]!r}") from error


def _is_whole(record: Record) -> bool:
    """Whether a file's record is of the types and ranges of its fields: an accuracy of NaN would never be beaten."""
    return (
        isinstance(record.model, str)
        and isinstance(record.digest, str)
        and record.folds in CUTS
        and is_number(record.pairs, int)
        and is_number(record.accuracy)
        and 0 <= record.accuracy <= 1
        and isinstance(record.wrong_pairs, list)
        and all(is_number(index, int) and 0 <= index < record.pairs for index in record.wrong_pairs)
    )
