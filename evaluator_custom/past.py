"""What a model was trained on before the run that evaluates it, as far as that can be known."""

import dataclasses
import os
from collections.abc import Collection

import numpy as np

from arcface_common.artifacts import IDENTITIES_FILE
from arcface_common.errors import DataError
from arcface_common.model_metadata import ModelMetadata
from trainer_module.identities import read_identities


@dataclasses.dataclass(frozen=True)
class Past:
    """An earlier training.

    Attributes:
      identities: people of this data set who were trained on, by their labels, int64 [C].
      known: it was trained on nobody else.
    """

    identities: np.ndarray
    known: bool

    def remark(self, labels: Collection[int]) -> str:
        """What it means for a set, "" for nothing.

        Args:
          labels: people of the set, as far as they are labels of this data set.
        """
        seen = len(set(labels).intersection(self.identities.tolist()))
        if seen:
            return f"{seen:,} of its people were trained on by the run that this model began from"
        if self.known or not labels:
            return ""
        return (
            "the network that this model began from may have been trained on its people: that isn't known, and leaks "
            "don't count it"
        )


NO_PAST = Past(np.array([], np.int64), known=True)
_UNKNOWN = Past(np.array([], np.int64), known=False)


def read_past(folder: str, content_digest: str) -> Past:
    """What the network in a folder was trained on.

    Its labels mean the same people only where it was trained on the same files. And where it began from another network
    itself, nobody knows what that one was trained on.

    Args:
      folder: of a training run or an import.
      content_digest: of the files that this run ingested.
    """
    try:
        metadata = ModelMetadata.read(folder)
        if not content_digest or metadata.data_digest != content_digest:
            return _UNKNOWN
        labels = np.array([int(label) for label in read_identities(os.path.join(folder, IDENTITIES_FILE))], np.int64)
    except (DataError, OSError, ValueError):
        return _UNKNOWN
    return Past(labels, known=not metadata.training.get("init_from"))
