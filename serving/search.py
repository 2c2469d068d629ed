"""Nearest neighbours among embeddings, exactly, in memory that doesn't grow with probes times gallery. numpy alone."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arcface_common.arguments import ANYTHING, COUNT, checked
from arcface_common.errors import DataError

_BLOCK = 2048  # rows a side: 4 M cosines are 17 MB
_FEW = 200  # a pass for each of so many is faster than sorting a block's rows: 5 take 5 ms in place of 260
_LENGTH_TOLERANCE = 1e-3  # of 1: float16 rounds lengths by 5e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """The most similar of a gallery for each of P probes, best first; of equal cosines the first in the gallery.

    Attributes:
      positions: int64 [P, K], the place of each in the gallery, from 0.
      cosines: float32 [P, K], -1..1, falling along each row.
      names: P rows of K names; positions as text where the gallery has none.
    """

    positions: np.ndarray
    cosines: np.ndarray
    names: list[list[str]]

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[list[tuple[str, float]]]:
        """Name and cosine of each match of a probe, best first; probe by probe."""
        for names, cosines in zip(self.names, self.cosines.tolist(), strict=True):
            yield list(zip(names, cosines, strict=True))


@checked(gallery=ANYTHING, probes=ANYTHING, names=ANYTHING, top=COUNT)
def search(
    gallery: npt.ArrayLike, probes: npt.ArrayLike, *, names: Sequence[Any] | None = None, top: int = 5
) -> Matches:
    """Finds the most similar faces of a gallery.

    >>> found = search([[1, 0], [0, 1]], [[0.6, 0.8]], names=["anna", "ben"], top=2)
    >>> found.names
    [['ben', 'anna']]
    >>> [f"{name} {cosine:.2f}" for matches in found for name, cosine in matches]
    ['ben 0.80', 'anna 0.60']
    >>> found.cosines.tolist()
    [[0.800000011920929, 0.6000000238418579]]

    Args:
      gallery: float [G, D], embeddings of length 1.
      probes: float [P, D], or one of them [D].
      names: G names, e.g. of the people; one may stand at several embeddings.
      top: K, how many to find, at least 1; no more than the gallery holds.

    Returns:
      The matches. Memory beside input and result holds 2,048 x 2,048 cosines, whatever G and P are.

    Raises:
      DataError: other shapes, embeddings that are not of length 1, or another number of names.
    """
    if names is not None and (isinstance(names, str | bytes) or not isinstance(names, Sequence | np.ndarray)):
        raise DataError(f"expected names in the gallery's order, a list say. Received: {type(names).__name__}")
    known = _unit(gallery, "gallery")
    asked = _unit(probes, "probes")
    if not len(known) or known.shape[1] != asked.shape[1]:
        raise DataError(
            f"expected a gallery [G, D] of G >= 1, and probes [P, D]. Received: {known.shape} and {asked.shape}"
        )
    if names is not None and len(names) != len(known):
        raise DataError(f"expected {len(known):,} names, one an embedding of the gallery. Received: {len(names):,}")
    kept = min(int(top), len(known))
    positions = np.empty((len(asked), kept), np.int64)
    cosines = np.empty((len(asked), kept), np.float32)
    for begin in range(0, len(asked), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        positions[rows], cosines[rows] = _nearest(known, asked[rows], kept)
    called = [str(name) for name in names] if names is not None else None
    return Matches(
        positions, cosines, [[called[at] if called else str(at) for at in row] for row in positions.tolist()]
    )


def _nearest(known: np.ndarray, asked: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and cosines of the best of the gallery for a block of probes, each [probes, kept]."""
    positions = np.empty((len(asked), 0), np.int64)
    cosines = np.empty((len(asked), 0), np.float32)
    for begin in range(0, len(known), _BLOCK):
        found = np.clip(asked @ known[begin : begin + _BLOCK].T, -1, 1)
        places = _best(found, min(kept, found.shape[1]))
        # Earlier blocks stand in front, and sorting is stable: of equal cosines the first in the gallery stays.
        cosines = np.concatenate([cosines, np.take_along_axis(found, places, axis=1)], axis=1)
        positions = np.concatenate([positions, places + begin], axis=1)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :kept]
        cosines = np.take_along_axis(cosines, order, axis=1)
        positions = np.take_along_axis(positions, order, axis=1)
    return positions, cosines


def _best(scores: np.ndarray, kept: int) -> np.ndarray:
    """Columns of the highest scores of each row, best first, the first of equal ones: int64 [rows, kept]."""
    if kept > _FEW:
        return np.argsort(-scores, axis=1, kind="stable")[:, :kept]
    left, rows = scores.copy(), np.arange(len(scores))
    places = np.empty((len(scores), kept), np.int64)
    for rank in range(kept):
        places[:, rank] = left.argmax(axis=1)
        left[rows, places[:, rank]] = -np.inf
    return places


def _unit(embeddings: npt.ArrayLike, what: str) -> np.ndarray:
    """Embeddings as float32 [N, D].

    Raises:
      DataError: another shape, or a row that is not finite and of length 1.
    """
    try:
        array = np.asarray(embeddings)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"expected {what} [N, D] of numbers. Received: {error}") from error
    if array.ndim == 1 and array.size:
        array = array[np.newaxis]
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise DataError(f"expected {what} [N, D] of numbers. Received: {array.dtype} {list(array.shape)}")
    array = array.astype(np.float32, copy=False)
    lengths = np.linalg.norm(array, axis=1)
    good = np.abs(lengths - 1) <= _LENGTH_TOLERANCE  # NaN isn't
    if not good.all():
        first = int(np.argmin(good))
        raise DataError(f"expected {what} of length 1. Received: row {first} of length {lengths[first]:g}")
    return array
