"""What a model answers about faces, wherever it computes. Needs no TensorFlow."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from arcface_common.arguments import ANYTHING, CALLABLE, COUNT, FLAG, NUMBER, TEXT, Kind, is_real
from arcface_common.errors import DataError
from serving.thresholds import Threshold, given_threshold

BATCH_SIZE = 64


def _is_threshold(value: Any) -> bool:
    return is_real(value.cosine if isinstance(value, Threshold) else value)


_THRESHOLD = Kind("a number of -1..1, or what `threshold` gave", _is_threshold)
_PREPARED = {"align": FLAG, "resize": FLAG}
# Kinds of the arguments of a model's calls, wherever it computes.
EMBED = {"images": ANYTHING, "batch_size": COUNT, "on_bad": CALLABLE.or_none(), **_PREPARED}
CHOOSE = {"set_name": TEXT.or_none(), "far": NUMBER.or_none()}
VERIFY = {"a": ANYTHING, "b": ANYTHING, "threshold": _THRESHOLD.or_none(), **CHOOSE, **_PREPARED}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Embeddings:
    """Embeddings of N images.

    Attributes:
      embeddings: float32 [N, D], each of length 1: the product of two is their cosine.
      norms: float32 [N], raw lengths, a hint at image quality.
      positions: int64 [N], the place of each among the images that were given, from 0.
    """

    embeddings: np.ndarray
    norms: np.ndarray
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.embeddings)

    def __repr__(self) -> str:
        return f"<{len(self):,} embeddings of {self.embeddings.shape[1]} values>"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether two faces are one person.

    Attributes:
      same: the cosine is above the threshold.
      cosine: of the two embeddings, -1..1.
      threshold: the cosine that it was held against, and what that rests on.
    """

    same: bool
    cosine: float
    threshold: Threshold

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values; `threshold` is the cosine, `set`, `far`, `pairs` and `false_accepts` what it rests on."""
        rests_on = {k: v for k, v in dataclasses.asdict(self.threshold).items() if k != "cosine" and v is not None}
        return {"same": self.same, "cosine": self.cosine, "threshold": self.threshold.cosine, **rests_on}


def joined(parts: Sequence[Embeddings], dim: int) -> Embeddings:
    """Several answers as one; of none, one of no image with `dim` values."""
    nothing = Embeddings(np.zeros((0, dim), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    columns = ([getattr(part, field.name) for part in (nothing, *parts)] for field in dataclasses.fields(Embeddings))
    return Embeddings(*map(np.concatenate, columns))


def chosen_threshold(
    threshold: float | Threshold | None,
    far: float | None,
    set_name: str | None,
    read: Callable[..., Threshold],
) -> Threshold:
    """The threshold that a caller means.

    Args:
      threshold: a cosine, or None for one of the evaluation.
      far: of the evaluation's, see `LocalModel.threshold`.
      set_name: see there.
      read: gives one of the evaluation's.

    Raises:
      DataError: a threshold beside the other two, or none that can be had.
    """
    if threshold is not None and (far is not None or set_name is not None):
        raise DataError(f"expected a threshold, or far and set_name. Received: threshold={threshold} and these")
    if threshold is None:
        return read(set_name, far=far)
    return threshold if isinstance(threshold, Threshold) else given_threshold(threshold)


def verdict(raw: np.ndarray, mirrored: np.ndarray, threshold: Threshold, who: str) -> Verdict:
    """Compares two faces as the verification protocol does.

    Args:
      raw: float32 [2, D], embeddings of the two, not normalised.
      mirrored: float32 [2, D], of their mirrors.
      threshold: to hold the cosine against.
      who: answered, for the error.

    Raises:
      DataError: an embedding without a direction.
    """
    both = raw.astype(np.float64) + mirrored
    with np.errstate(invalid="ignore"):
        first, second = both / np.linalg.norm(both, axis=1, keepdims=True)
    cosine = float(first @ second)
    if not np.isfinite(cosine):
        raise DataError(f"{who}: expected embeddings with a direction. Received: a cosine of {cosine}")
    return Verdict(cosine > threshold.cosine, cosine, threshold)
