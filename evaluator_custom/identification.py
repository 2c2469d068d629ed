"""All pairs of a set of faces (1:1), and gallery against probes (1:N), in memory that doesn't grow with the pairs.

Scores are cosines of unit embeddings, computed in float32 by blocks. 20,000 images are 199,990,000 pairs: 800 MB of
scores, if one kept them. What is kept instead is how many scores fall in each step of 2**-20 (9.5e-7): 2**21 + 1
counters of 8 B = 17 MB for all pairs, and as many for the genuine ones. Scaling by 2**20 and rounding down are exact in
float32, so at every threshold that is a multiple of 2**-20 the counts of scores at or above it, and with them FAR and
TAR, are exact, whatever the number of pairs. Only thresholds between two steps are out of reach. (A float32 cosine of
512 products is itself no more exact than about 1e-7, and BLAS may sum it in another order in a block of another size.)

Sources: ISO/IEC 19795-1 (FAR, TAR); P. Grother, M. Ngan, K. Hanaoka, "Face Recognition Vendor Test, part 2:
Identification", NISTIR 8271, 2019 (FPIR, and TPIR = 1 - FNIR at rank 1); B. Maze et al., "IARPA Janus Benchmark - C",
2018 (templates; probes whose identity is not enrolled).
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evaluator_custom import support
from evaluator_custom.verification_statistics import ProtocolError, RocCurve, allowed, describe_indices
from trainer_module.console import progress

FAR_TARGETS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FPIR_TARGETS = (1e-1, 1e-2, 1e-3)
RANKS = (1, 5)
Template = Literal["mean", "best"]

_STEPS = 2**20  # of the counters, in a cosine of 1
_COUNTERS = 2 * _STEPS + 1
_BLOCK = 2048  # images a side; larger ones are no faster


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
        (used,) = np.nonzero(self._all)
        used = used[::-1]  # highest score first
        genuine = np.cumsum(self._genuine[used])
        impostor = np.cumsum(self._all[used]) - genuine
        genuine_pairs, impostor_pairs = (int(counts[-1]) if used.size else 0 for counts in (genuine, impostor))
        cosines = used / _STEPS - 1.0
        tar: dict[float, float | None] = {}
        thresholds: dict[float, float | None] = {}
        for target in FAR_TARGETS:
            admitted = allowed(target, impostor_pairs)
            accepted = int(np.searchsorted(impostor, admitted, side="right"))  # steps whose false accepts are allowed
            can_tell = admitted > 0 and genuine_pairs > 0
            tar[target] = (int(genuine[accepted - 1]) / genuine_pairs if accepted else 0.0) if can_tell else None
            thresholds[target] = float(cosines[accepted - 1]) if can_tell and accepted else None
        curve = RocCurve(
            far=np.concatenate(([0.0], impostor / max(impostor_pairs, 1))),
            tar=np.concatenate(([0.0], genuine / max(genuine_pairs, 1))),
            thresholds=np.concatenate(([0.0], np.nextafter(2 - 2 * cosines, np.inf))),
        )
        return PairFigures(genuine_pairs, impostor_pairs, tar, thresholds, curve.auc(), curve.eer())


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
        return {**_json_ready(self), "undefined": self.undefined}


@dataclasses.dataclass(frozen=True)
class IdentificationFigures:
    """1:N figures; rates are 0..1.

    Attributes:
      identities: in the gallery.
      mated: probes of these.
      nonmated: probes of others, the unknowns.
      rank_rates: by K, the share of mated probes whose identity is among the K best; None where there are no mated
        probes, or no more than K identities.
      tpir_at_fpir: by FPIR target, the highest TPIR over thresholds whose FPIR is at most the target. TPIR is the share
        of mated probes whose identity is the best **and** passes the threshold; FPIR that of the non-mated probes any
        identity of the gallery passes it for. None where the probes can't tell: fewer than 1 / target non-mated ones,
        or no mated ones.
      threshold_at_fpir: the cosine above which an identity is accepted there; None where there is no TPIR.
    """

    identities: int
    mated: int
    nonmated: int
    rank_rates: dict[int, float | None]
    tpir_at_fpir: dict[float, float | None]
    threshold_at_fpir: dict[float, float | None]

    @property
    def undefined(self) -> dict[str, str]:
        """Figure -> why it is None; that of a rank or target is e.g. "rank_rates 5" or "tpir_at_fpir 0.001"."""
        no_mated = "" if self.mated else "no probe is of an identity in the gallery"
        reasons = {}
        for k, rate in self.rank_rates.items():
            if rate is None:
                few = f"needs more than {k} identities in the gallery; there are {self.identities:,}"
                reasons[f"rank_rates {k}"] = no_mated or few
        for target, tpir in self.tpir_at_fpir.items():
            if tpir is None:
                few = str(support.needs(target, self.nonmated, "probes of unknowns"))
                reasons[f"tpir_at_fpir {target:g}"] = no_mated or few
        return reasons

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows; targets and ranks become keys such as "0.001" and "5"."""
        return {**_json_ready(self), "undefined": self.undefined}


def fuse(raw: npt.ArrayLike, mirrored: npt.ArrayLike) -> np.ndarray:
    """Embedding of the image plus that of its mirror, L2-normalised, as the verification protocol does.

    Args:
      raw: float [N, D], finite.
      mirrored: float [N, D], finite.

    Returns:
      float32 [N, D], computed in float64. A zero sum stays zero.
    """
    total = np.add(raw, mirrored, dtype=np.float64)
    return _unit(total).astype(np.float32)


def score_all_pairs(unit: np.ndarray, labels: npt.ArrayLike, *, block: int = _BLOCK) -> PairFigures:
    """1:1 figures of every pair of different images. Shows progress.

    Memory beside the input doesn't depend on N: the counters, 34 MB, and for each pair of a block at most 4 B as score,
    8 B as integer, 2 B of masks and 8 B once more where a mask selects: 126 MB with blocks of 2048 images. The
    curve at the end takes at most 200 MB more for a moment.

    Args:
      unit: float32 [N, D], L2-normalised, as `fuse` gives them.
      labels: int [N], equal for images of one person.
      block: images a side of the blocks, at least 1.

    Returns:
      The figures.

    Raises:
      ProtocolError: shapes that don't fit, or embeddings that are not finite or longer than 1.
    """
    unit, labels = _checked(unit, labels, "images")
    counts = ScoreCounts()
    scores = np.empty(min(block, len(unit)) ** 2, np.float32)
    tiles = list(_upper_tiles(len(unit), block))
    for rows, columns in progress(tiles, description="all pairs", unit="block"):
        genuine = labels[rows, np.newaxis] == labels[columns]
        tile = scores[: genuine.size].reshape(genuine.shape)
        np.matmul(unit[rows], unit[columns].T, out=tile)
        keep = np.triu(np.ones(tile.shape, bool), 1) if rows == columns else None  # each pair once, none with itself
        counts.add(tile, genuine, keep)
    return counts.figures()


def score_gallery(
    gallery: np.ndarray,
    gallery_labels: npt.ArrayLike,
    probes: np.ndarray,
    probe_labels: npt.ArrayLike,
    *,
    template: Template = "mean",
    counts: ScoreCounts | None = None,
    cells: int = _BLOCK**2,
) -> IdentificationFigures:
    """1:N figures of probes against a gallery, whose identities are those of its labels. Shows progress.

    An identity that scores as high as the probe's own counts as better: a tie is never a hit. Beside the input and
    the gallery's templates, memory holds the scores of some probes, `cells` at a time, and one score a probe.

    Args:
      gallery: float32 [G, D], L2-normalised.
      gallery_labels: int [G].
      probes: float32 [P, D], L2-normalised.
      probe_labels: int [P]; a probe is mated if its label is one of the gallery's.
      template: an identity's score is "mean": that of the mean of its embeddings, normalised again, as the Janus
        benchmarks have it; "best": the highest of its images.
      counts: adds the 1:1 pairs of each probe and each identity.
      cells: scores at a time; at least one probe's are.

    Returns:
      The figures.

    Raises:
      ProtocolError: shapes that don't fit, or embeddings that are not finite or longer than 1.
    """
    gallery, gallery_labels = _checked(gallery, gallery_labels, "gallery images")
    probes, probe_labels = _checked(probes, probe_labels, "probes")
    if gallery.shape[1] != probes.shape[1]:
        raise ProtocolError(
            f"Expected probes of {gallery.shape[1]} values, as the gallery's. Received: {probes.shape[1]}"
        )
    order = np.argsort(gallery_labels, kind="stable")
    known, starts = np.unique(gallery_labels[order], return_index=True)
    rows = gallery[order]
    if template == "mean":
        rows = _unit(np.add.reduceat(rows, starts, axis=0, dtype=np.float64)).astype(np.float32)
    own = np.searchsorted(known, probe_labels).clip(max=known.size - 1)
    mated = known[own] == probe_labels
    ranks, own_scores, top_scores = np.empty(len(probes), np.int64), *np.empty((2, len(probes)), np.float32)
    step = max(1, cells // len(rows))
    for begin in progress(range(0, len(probes), step), description="1:N", unit="block"):
        some = slice(begin, begin + step)
        scores = probes[some] @ rows.T
        if template == "best":
            scores = np.maximum.reduceat(scores, starts, axis=1)
        at = np.arange(len(scores)), own[some]
        own_scores[some], top_scores[some] = scores[at], scores.max(axis=1)
        ranks[some] = np.count_nonzero(scores >= own_scores[some, np.newaxis], axis=1)
        if counts is not None:
            genuine = np.zeros(scores.shape, bool)
            genuine[at] = mated[some]
            counts.add(scores, genuine)
    return _identification(known.size, ranks[mated], own_scores[mated], top_scores[~mated])


def _identification(identities: int, ranks: np.ndarray, own: np.ndarray, unknown: np.ndarray) -> IdentificationFigures:
    """Figures from rank (from 1) and own score of the M mated probes, and best score of the U others, float32 [U]."""
    rank_rates = {k: float(np.mean(ranks <= k)) if ranks.size and k < identities else None for k in RANKS}
    unknown = np.sort(unknown)[::-1]
    first = np.sort(own[ranks == 1])
    tpir: dict[float, float | None] = {}
    thresholds: dict[float, float | None] = {}
    for target in FPIR_TARGETS:
        admitted = allowed(target, unknown.size)
        tpir[target] = thresholds[target] = None
        if admitted and ranks.size:
            # All targets are below 1, so there is an unknown that must not pass.
            above = first.size - int(np.searchsorted(first, unknown[admitted], side="right"))
            tpir[target], thresholds[target] = above / ranks.size, float(unknown[admitted])
    return IdentificationFigures(identities, ranks.size, unknown.size, rank_rates, tpir, thresholds)


def _upper_tiles(images: int, block: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the square blocks on and above the diagonal."""
    begins = range(0, images, block)
    for i in begins:
        for j in begins[i // block :]:
            yield slice(i, min(i + block, images)), slice(j, min(j + block, images))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of float64 [N, D] divided by their lengths; zero rows stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)


def _checked(unit: npt.ArrayLike, labels: npt.ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
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


def _json_ready(figures: PairFigures | IdentificationFigures) -> dict[str, Any]:
    return {
        name: {f"{key:g}": rate for key, rate in value.items()} if isinstance(value, dict) else value
        for name, value in dataclasses.asdict(figures).items()
    }
