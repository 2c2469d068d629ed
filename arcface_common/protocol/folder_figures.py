"""What a model comes to on folders of faces: 1:1 and 1:N figures, and what they come from."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arcface_common.protocol.all_pairs import PairFigures, ScoreCounts
from arcface_common.protocol.gallery_search import IdentificationFigures, Searches

_NAMES = {
    "auc": "AUC",
    "eer": "EER",
    "tar_at_far": "TAR@FAR=",
    "rank_rates": "rank-",
    "tpir_at_fpir": "TPIR@FPIR=",
}


@dataclasses.dataclass(frozen=True, eq=False)
class FolderFigures:
    """What a model comes to on folders of faces.

    Attributes:
      pairs: which pairs the 1:1 figures are of, in words.
      counts: their scores.
      unknowns: which probes the 1:N figures count as unknown, in words.
      searches: 1:N, P probes in a gallery.
      gallery: the G image files that the gallery was made from.
      probes: the P image files that were searched.
    """

    pairs: str
    counts: ScoreCounts
    unknowns: str
    searches: Searches
    gallery: Sequence[Path]
    probes: Sequence[Path]

    @functools.cached_property
    def verification(self) -> PairFigures:
        """1:1."""
        return self.counts.figures()

    @functools.cached_property
    def identification(self) -> IdentificationFigures:
        """1:N."""
        return self.searches.figures()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "pairs": self.pairs,
            "verification": self.verification.to_dict(),
            "unknowns": self.unknowns,
            "identification": self.identification.to_dict(),
        }

    def lines(self) -> list[str]:
        """The figures for a person; a dash is what the images can't tell."""
        pairs, search = self.verification, self.identification
        rates = ", ".join(f"rank-{k} {_shown(rate)}" for k, rate in search.rank_rates.items())
        return [
            f"1:1, {self.pairs}: {pairs.genuine:,} same, {pairs.impostor:,} different",
            *_rows("FAR", "TAR", pairs.tar_at_far, pairs.threshold_at_far),
            f"AUC {_shown(pairs.auc, 6)}, EER {_shown(pairs.eer)}",
            "",
            f"1:N, {search.identities:,} identities: {search.mated:,} probes of them, "
            f"{search.nonmated:,} of unknowns ({self.unknowns})",
            rates,
            *_rows("FPIR", "TPIR", search.tpir_at_fpir, search.threshold_at_fpir),
            *(f"-  {reason}" for reason in self.reasons()),
        ]

    def reasons(self) -> list[str]:
        """Why figures are missing: a line for each kind of them, that of the easiest target or rank."""
        first: dict[str, str] = {}
        for figure, reason in (self.verification.undefined | self.identification.undefined).items():
            kind, _, target = figure.partition(" ")
            first.setdefault(kind, f"{_NAMES[kind]}{target}: {reason}")
        return list(first.values())


def _rows(target: str, rate: str, rates: dict[float, float | None], thresholds: dict[float, float | None]) -> list[str]:
    lines = [f"{target:<8} {rate:<8} cosine threshold"]
    return lines + [f"{key:<8g} {_shown(value):<8} {_shown(thresholds[key])}" for key, value in rates.items()]


def _shown(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
