"""Gallery against probes (1:N): who is found, at which rank, and how often a stranger is taken for somebody.

Sources: P. Grother, M. Ngan, K. Hanaoka, "Face Recognition Vendor Test, part 2: Identification", NISTIR 8271, 2019
(FPIR, FNIR, and TPIR = 1 - FNIR at rank 1; the cumulative match characteristic); B. Maze et al., "IARPA Janus
Benchmark - C", 2018 (templates; probes whose identity is not enrolled).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom

from arcface_common.console import progress
from arcface_common.protocol import support
from arcface_common.protocol.all_pairs import BLOCK, ScoreCounts, checked_embeddings, json_ready, unit_rows
from arcface_common.protocol.verification_statistics import ProtocolError, allowed

FPIR_TARGETS = (1e-1, 1e-2, 1e-3)
RANKS = (1, 5)
Template = Literal["mean", "best"]


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
        return {**json_ready(self), "undefined": self.undefined}


@dataclasses.dataclass(frozen=True, eq=False)
class Gallery:
    """Templates of N identities.

    Attributes:
      labels: int [N], rising.
      first_images: int [N], which of the G images that it was made from is an identity's first.
    """

    labels: np.ndarray
    first_images: np.ndarray
    _rows: np.ndarray  # float32 [R, D]; one an identity, or its images side by side
    _starts: np.ndarray | None  # of the identities in the rows; None where each has one

    @classmethod
    def of(cls, unit: np.ndarray, labels: np.ndarray, template: Template) -> "Gallery":
        """Templates from G unit embeddings, float32 [G, D], and whose they are, int [G]; see `search_gallery`."""
        order = np.argsort(labels, kind="stable")
        known, starts = np.unique(labels[order], return_index=True)
        rows = unit[order]
        if template == "mean":
            rows = unit_rows(np.add.reduceat(rows, starts, axis=0, dtype=np.float64)).astype(np.float32)
        return cls(known, order[starts], rows, starts if template == "best" else None)

    def scores(self, probes: np.ndarray, cells: int = BLOCK**2) -> Iterator[tuple[slice, np.ndarray]]:
        """Scores of probes, float32 [P, D], with each identity: float32 [S, N] for S of them at a time.

        Args:
          probes: unit embeddings.
          cells: scores at a time; at least one probe's are.
        """
        step = max(1, cells // len(self._rows))
        for begin in range(0, len(probes), step):
            some = slice(begin, min(begin + step, len(probes)))
            scores = probes[some] @ self._rows.T
            yield some, scores if self._starts is None else np.maximum.reduceat(scores, self._starts, axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Searches:
    """What P probes find in a gallery of N identities.

    An identity that scores as high as the probe's own counts as better: a tie is never a hit.

    Attributes:
      gallery: the identities.
      probes: unit embeddings, float32 [P, D].
      own: int64 [P], the place of the probe's identity in the gallery; -1 for an unknown.
      own_scores: float32 [P], cosine with it; -inf for an unknown.
      ranks: int64 [P], of that identity, from 1; 0 for an unknown.
      others: int64 [P], the place of the best of the other identities; of an unknown, of all.
      other_scores: float32 [P], cosine with it; -inf where there is no other.
    """

    gallery: Gallery
    probes: np.ndarray
    own: np.ndarray
    own_scores: np.ndarray
    ranks: np.ndarray
    others: np.ndarray
    other_scores: np.ndarray

    @property
    def mated(self) -> np.ndarray:
        """Whether the probe's identity is in the gallery, bool [P]."""
        return self.own >= 0

    def figures(self) -> IdentificationFigures:
        """What the searches come to."""
        ranks = self.ranks[self.mated]
        identities = self.gallery.labels.size
        rank_rates = {k: float(np.mean(ranks <= k)) if ranks.size and k < identities else None for k in RANKS}
        unknown = np.sort(self.other_scores[~self.mated])[::-1]
        first = np.sort(self.own_scores[self.ranks == 1])
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

    def rank_rates(self) -> np.ndarray:
        """Share of mated probes whose identity is among the K best, for K from 1 to N: float64 [N], rising to 1.

        The cumulative match characteristic. All NaN where no probe is mated.
        """
        ranks = self.ranks[self.mated]
        found = np.bincount(ranks - 1, minlength=self.gallery.labels.size)
        return np.cumsum(found) / (ranks.size or np.nan)

    def error_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """FPIR and FNIR (1 - TPIR) at each threshold that a score of an unknown is: float64 [K], K at most U + 1.

        FPIR rises from 0, FNIR falls. Both are empty where there are no mated probes, or no unknowns.
        """
        unknown = np.sort(self.other_scores[~self.mated])[::-1]
        first, mated = np.sort(self.own_scores[self.ranks == 1]), int(self.mated.sum())
        if not unknown.size or not mated:
            return np.empty(0), np.empty(0)
        # At such a threshold the unknowns above it pass, and of equal ones none or all; at the last all do.
        thresholds = np.append(unknown, -np.inf)
        passing = np.searchsorted(-unknown, -thresholds, side="left")
        found = first.size - np.searchsorted(first, thresholds, side="right")
        return passing / unknown.size, 1 - found / mated

    def false_positive_rates(self, thresholds: Sequence[float], sizes: npt.ArrayLike) -> np.ndarray:
        """FPIR that a gallery of fewer of these identities has at a threshold, float64 [thresholds, sizes].

        It is exact for the mean over all choices of so many identities: an unknown whom `c` of N identities pass the
        threshold for meets none of them in n with the hypergeometric probability C(N - c, n) / C(N, n). Searches the
        unknowns once more.

        Args:
          thresholds: cosines above which an identity is accepted.
          sizes: numbers of identities, 1..N.
        """
        sizes = np.asarray(sizes)
        unknown, identities = self.probes[~self.mated], self.gallery.labels.size
        passing = np.zeros((len(thresholds), len(unknown)), np.int64)
        with progress(total=len(unknown), description="strangers", unit="probe") as bar:
            for some, scores in self.gallery.scores(unknown):
                for row, threshold in zip(passing, thresholds, strict=True):
                    row[some] = np.count_nonzero(scores > np.float32(threshold), axis=1)
                bar.update(len(scores))
        rates = np.empty((len(thresholds), sizes.size))
        for rate, row in zip(rates, passing, strict=True):
            counts, probes = np.unique(row, return_counts=True)
            met = hypergeom.sf(0, identities, counts[:, np.newaxis], sizes[np.newaxis])
            rate[:] = probes @ met / max(len(unknown), 1)
        return rates


def search_gallery(
    gallery: np.ndarray,
    gallery_labels: npt.ArrayLike,
    probes: np.ndarray,
    probe_labels: npt.ArrayLike,
    *,
    template: Template = "mean",
    counts: ScoreCounts | None = None,
    cells: int = BLOCK**2,
) -> Searches:
    """Searches each probe in a gallery, whose identities are those of its labels. Shows progress.

    Beside the input and the gallery's templates, memory holds the scores of some probes, `cells` at a time, and 36 B a
    probe.

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
      What was found.

    Raises:
      ProtocolError: shapes that don't fit, or embeddings that are not finite or longer than 1.
    """
    gallery, gallery_labels = checked_embeddings(gallery, gallery_labels, "gallery images")
    probes, probe_labels = checked_embeddings(probes, probe_labels, "probes")
    if gallery.shape[1] != probes.shape[1]:
        raise ProtocolError(
            f"Expected probes of {gallery.shape[1]} values, as the gallery's. Received: {probes.shape[1]}"
        )
    known = Gallery.of(gallery, gallery_labels, template)
    own = np.searchsorted(known.labels, probe_labels).clip(max=known.labels.size - 1)
    own[known.labels[own] != probe_labels] = -1
    ranks, others = np.zeros((2, len(probes)), np.int64)
    own_scores, other_scores = np.full((2, len(probes)), -np.inf, np.float32)
    with progress(total=len(probes), description="1:N", unit="probe") as bar:
        for some, scores in known.scores(probes, cells):
            (mated,) = np.nonzero(own[some] >= 0)
            at = mated, own[some][mated]
            own_scores[some][mated] = of_own = scores[at]
            ranks[some][mated] = np.count_nonzero(scores[mated] >= of_own[:, np.newaxis], axis=1)
            scores[at] = -np.inf
            others[some] = scores.argmax(axis=1)
            other_scores[some] = scores.max(axis=1)
            if counts is not None:
                scores[at] = of_own
                genuine = np.zeros(scores.shape, bool)
                genuine[at] = True
                counts.add(scores, genuine)
            bar.update(len(scores))
    return Searches(known, probes, own, own_scores, ranks, others, other_scores)
