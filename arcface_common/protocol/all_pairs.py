"""All pairs of a set of faces (1:1), in memory that doesn't grow with the pairs.

Scores are cosines of unit embeddings, computed in float32 by blocks. 20,000 images are 199,990,000 pairs: 800 MB of
scores, if one kept them. What is kept instead is how many scores fall in each step of 2**-20 (9.5e-7): 2**21 + 1
counters of 8 B = 17 MB for all pairs, and as many for the genuine ones. Scaling by 2**20 and rounding down are exact in
float32, so at every threshold that is a multiple of 2**-20 the counts of scores at or above it, and with them FAR and
TAR, are exact, whatever the number of pairs. Only thresholds between two steps are out of reach. (A float32 cosine of
512 products is itself no more exact than about 1e-7, and BLAS may sum it in another order in a block of another size.)

Source: ISO/IEC 19795-1 (FAR, TAR).
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from arcface_common.console import progress
from arcface_common.features import FAR_TARGETS
from arcface_common.protocol import support
from arcface_common.protocol.verification_statistics import ProtocolError, RocCurve, allowed, describe_indices

ALL_PAIRS_FAR_TARGETS = (1e-1, *FAR_TARGETS)
BLOCK = 2048  # images a side of a block of scores; larger ones are no faster

_STEPS = 2**20  # of the counters, in a cosine of 1
_COUNTERS = 2 * _STEPS + 1


class ScoreCounts:
    """How many scores there are in each step of 2**-20, of all pairs and of the genuine ones."""

    def __init__(self) -> None:
        self._all = np.zeros(_COUNTERS, np.int64)
        self._genuine = np.zeros(_COUNTERS, np.int64)
        self._keys = np.empty(0, np.intp)  # kept from block to block: mapping fresh pages costs 10 times the cast

    def add(self, scores: np.ndarray, genuine: np.ndarray, keep: np.ndarray | None = None) -> None:
        """Counts a block of pairs.

        Args:
          scores: float32 [R, C], cosines; **overwritten**. What rounding brought outside of -1..1 counts as -1 or 1.
          genuine: bool [R, C], whether a pair shows one person.
          keep: bool [R, C], the pairs to count; all of them if None.
        """
        np.clip(scores, -1, 1, out=scores)
        scores *= _STEPS
        np.floor(scores, out=scores)
        scores += _STEPS  # a whole number up to 2**21 is exact in float32
        if self._keys.size < scores.size:
            self._keys = np.empty(scores.size, np.intp)
        keys = self._keys[: scores.size].reshape(scores.shape)
        np.copyto(keys, scores, casting="unsafe")
        if keep is not None:
            genuine = genuine & keep
        # As fast as bincount on 4 million keys, and on fewer without its pass over all counters.
        np.add.at(self._all, keys.ravel() if keep is None else keys[keep], 1)
        np.add.at(self._genuine, keys[genuine], 1)

    def figures(self) -> "PairFigures":
        """What the pairs that were counted so far come to."""
        cosines, genuine, impostor = self._accepted()
        curve = self.curve()
        tar: dict[float, float | None] = {}
        thresholds: dict[float, float | None] = {}
        for target in ALL_PAIRS_FAR_TARGETS:
            admitted = allowed(target, int(impostor[-1]))
            last = int(np.searchsorted(impostor, admitted, side="right")) - 1  # point whose false accepts are allowed
            can_tell = admitted > 0 and genuine[-1] > 0
            tar[target] = float(curve.tar[last]) if can_tell else None
            thresholds[target] = float(cosines[last - 1]) if can_tell and last else None
        return PairFigures(int(genuine[-1]), int(impostor[-1]), tar, thresholds, curve.auc(), curve.eer())

    def curve(self) -> RocCurve:
        """The ROC, one point for each step that holds a pair, after the point that accepts nothing."""
        cosines, genuine, impostor = self._accepted()
        return RocCurve(
            far=impostor / max(int(impostor[-1]), 1),
            tar=genuine / max(int(genuine[-1]), 1),
            thresholds=np.concatenate(([0.0], np.nextafter(2 - 2 * cosines, np.inf))),
        )

    def _accepted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cosine of each step that holds a pair, falling, float64 [K]; how many pairs are accepted from it on.

        Those are int64 [K + 1] of the genuine and as many of the impostor ones, after a 0 for none.
        """
        (used,) = np.nonzero(self._all)
        used = used[::-1]
        genuine = np.concatenate(([0], np.cumsum(self._genuine[used])))
        impostor = np.concatenate(([0], np.cumsum(self._all[used]))) - genuine
        return used / _STEPS - 1.0, genuine, impostor


@dataclasses.dataclass(frozen=True)
class PairFigures:
    """1:1 figures; rates are 0..1.

    Attributes:
      genuine: pairs of one person.
      impostor: pairs of two.
      tar_at_far: by FAR target, the highest TAR over thresholds whose FAR is at most the target. None where the pairs
        can't tell: fewer than 1 / target impostor pairs, or no genuine ones.
      threshold_at_far: the cosine from which on pairs are accepted there, a multiple of 2**-20; None where there is no
        TAR, or only one of 0.
      auc: area under the ROC, scores of one step as ties; None where all pairs are of one kind.
      eer: equal error rate; None where all pairs are of one kind.
    """

    genuine: int
    impostor: int
    tar_at_far: dict[float, float | None]
    threshold_at_far: dict[float, float | None]
    auc: float | None
    eer: float | None

    @property
    def undefined(self) -> dict[str, str]:
        """Figure -> why it is None; that of a target is e.g. "tar_at_far 0.001"."""
        missing = support.SAME if not self.genuine else support.DIFFERENT if not self.impostor else ""
        reasons = dict.fromkeys(("auc", "eer"), f"there are no {missing}") if missing else {}
        for target, tar in self.tar_at_far.items():
            if tar is None:
                few = f"there are no {missing}" if missing else str(support.needs(target, self.impostor))
                reasons[f"tar_at_far {target:g}"] = few
        return reasons

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows; targets become keys such as "0.001"."""
        return {**json_ready(self), "undefined": self.undefined}


def fuse(raw: npt.ArrayLike, mirrored: npt.ArrayLike) -> np.ndarray:
    """Embedding of the image plus that of its mirror, L2-normalised, as the verification protocol does.

    Args:
      raw: float [N, D], finite.
      mirrored: float [N, D], finite.

    Returns:
      float32 [N, D], computed in float64. A zero sum stays zero.
    """
    total = np.add(raw, mirrored, dtype=np.float64)
    return unit_rows(total).astype(np.float32)


def count_all_pairs(unit: np.ndarray, labels: npt.ArrayLike, *, block: int = BLOCK) -> ScoreCounts:
    """Scores of every pair of different images, counted. Shows progress.

    Memory beside the input doesn't depend on N: the counters, 34 MB, and for each pair of a block at most 4 B as score,
    8 B as integer, 2 B of masks and 8 B once more where a mask selects: 126 MB with blocks of 2048 images. The
    curve at the end takes at most 200 MB more for a moment.

    Args:
      unit: float32 [N, D], L2-normalised, as `fuse` gives them.
      labels: int [N], equal for images of one person.
      block: images a side of the blocks, at least 1.

    Returns:
      The counts.

    Raises:
      ProtocolError: shapes that don't fit, or embeddings that are not finite or longer than 1.
    """
    unit, labels = checked_embeddings(unit, labels, "images")
    counts = ScoreCounts()
    scores = np.empty(min(block, len(unit)) ** 2, np.float32)
    tiles = list(_upper_tiles(len(unit), block))
    for rows, columns in progress(tiles, description="all pairs", unit="block"):
        genuine = labels[rows, np.newaxis] == labels[columns]
        tile = scores[: genuine.size].reshape(genuine.shape)
        np.matmul(unit[rows], unit[columns].T, out=tile)
        keep = np.triu(np.ones(tile.shape, bool), 1) if rows == columns else None  # each pair once, none with itself
        counts.add(tile, genuine, keep)
    return counts


def _upper_tiles(images: int, block: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the square blocks on and above the diagonal."""
    begins = range(0, images, block)
    for i in begins:
        for j in begins[i // block :]:
            yield slice(i, min(i + block, images)), slice(j, min(j + block, images))


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows of float64 [N, D] divided by their lengths; zero rows stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)


def checked_embeddings(unit: npt.ArrayLike, labels: npt.ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings as float32 [N, D] and labels [N]."""
    array, labels = np.asarray(unit, dtype=np.float32), np.asarray(labels)
    if array.ndim != 2 or not array.size or labels.shape != array.shape[:1] or labels.dtype.kind not in "iu":
        raise ProtocolError(
            f"Expected embeddings [N, D] of N >= 1 {name}, and N whole numbers as labels. "
            f"Received: {list(array.shape)}, and {labels.dtype} {list(labels.shape)}"
        )
    lengths = np.linalg.norm(array, axis=1)
    if (bad := ~(lengths < 1 + 1e-5)).any():
        raise ProtocolError(
            f"Expected unit embeddings of {name}. "
            f"Received: one of length {lengths[bad][0]} (NaN: not finite) at {describe_indices(bad)}"
        )
    return array, labels


def json_ready(figures: Any) -> dict[str, Any]:
    """The fields of a dataclass of figures; targets and ranks become keys such as "0.001"."""
    return {
        name: {f"{key:g}": rate for key, rate in value.items()} if isinstance(value, dict) else value
        for name, value in dataclasses.asdict(figures).items()
    }
