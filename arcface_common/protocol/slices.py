"""How a verification set's figures differ between groups of its pairs, at one threshold for all: numpy only.

A threshold of its own for each group would hide what users of one model meet: some groups are falsely accepted or
rejected more often than others. So every slice is judged at the threshold of the whole set.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arcface_common.protocol.support import MIN_PAIRS


@dataclasses.dataclass(frozen=True)
class SliceFigures:
    """What a threshold does to the pairs of one value of one attribute. All rates are 0..1.

    Attributes:
      column: name of the attribute.
      value: its value.
      pairs: number of pairs with that value.
      accuracy: share of pairs judged correctly; None with fewer than `MIN_PAIRS` pairs.
      tar: share of pairs of one person that are accepted; None with fewer than `MIN_PAIRS` of them.
      far: share of pairs of different people that are accepted; None with fewer than `MIN_PAIRS` of them.
    """

    column: str
    value: str
    pairs: int
    accuracy: float | None
    tar: float | None
    far: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)


def slice_figures(
    distances: np.ndarray, is_same: np.ndarray, threshold: float, attributes: Mapping[str, Sequence[str]]
) -> tuple[SliceFigures, ...]:
    """The figures of every value of every attribute.

    Args:
      distances: squared distances, float [N].
      is_same: bool [N].
      threshold: squared distance below which a pair counts as one person: that of the whole set.
      attributes: column -> value of each of the N pairs; "" where it isn't known, which is in no slice.

    Returns:
      By column, then by value, both in alphabetical order.
    """
    accepted = distances < threshold
    found = []
    for column in sorted(attributes):
        values = np.asarray(attributes[column], dtype=np.str_)
        for value in np.unique(values[values != ""]).tolist():
            own = values == value
            found.append(
                SliceFigures(
                    column,
                    value,
                    int(own.sum()),
                    _share((accepted == is_same)[own]),
                    _share(accepted[own & is_same]),
                    _share(accepted[own & ~is_same]),
                )
            )
    return tuple(found)


def _share(hits: np.ndarray) -> float | None:
    return float(hits.mean()) if hits.size >= MIN_PAIRS else None


def gap(slices: Sequence[SliceFigures], column: str, figure: str) -> float | None:
    """Difference of a figure between the best and the worst slice of a column, 0..1.

    Accuracy is compared between slices that have both kinds of pairs: where one kind is missing (pairs across two
    groups are all of different people), accuracy is TAR or 1 - FAR under another name.

    Args:
      slices: of `slice_figures`.
      column: the attribute.
      figure: "accuracy", "tar" or "far".

    Returns:
      The gap; None where fewer than two slices have that figure.
    """
    comparable = [
        s for s in slices if s.column == column and (figure != "accuracy" or not (s.tar is None or s.far is None))
    ]
    values = [value for s in comparable if (value := getattr(s, figure)) is not None]
    return max(values) - min(values) if len(values) > 1 else None
