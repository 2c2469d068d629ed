"""Identities that are kept out of training: which, and how many pairs are drawn of them. numpy alone.

A model that trained on a person says nothing about new faces by that person's pairs. So whole identities are kept out.
"""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from arcface_common.errors import DataError, argument, setting_argument
from components.datasets.pair_drawing import USUAL, most_pairs
from components.datasets.pair_facts import DEFAULT_HARD, DEFAULT_PAIRS, MOST_PAIRS, UNIT
from components.datasets.pair_list import check_set_name
from components.formats.identity_names import identity_name

KEPT_OUT = "kept_out"

_LEAST_IDENTITIES = 2


def usual_pairs(sizes: np.ndarray) -> int:
    """How many pairs people bear, so that figures claim no more than they can, a multiple of 20.

    Nobody is in two folds, and each combination of two people is used `USUAL` times on average; where the folds can't
    have people of their own, the latter alone. At least 20.

    Args:
      sizes: images of each person, integers [K].
    """
    return most_pairs(sizes, separate=True, often=USUAL) or max(UNIT, most_pairs(sizes, often=USUAL))


@dataclasses.dataclass(frozen=True)
class KeepOut:
    """What to keep out, and what to make of it.

    Attributes:
      share: of the identities, above 0 and at most 1; with 1 nobody is trained on.
      pairs: how many to draw, a multiple of 20; None for as many as the people bear (`usual_pairs`), at most 6,000.
      hard: share of the pairs of different people that are hard, 0..1, see `pair_drawing`.
      seed: another one keeps out other identities and draws other pairs.
      name: of the set.
      pairs_setting: by which a person asks for a number of pairs, for messages; "" for the argument `pairs`.

    Raises:
      DataError: a value outside of its range, or a name that is no plain file name.
    """

    share: float
    pairs: int | None = None
    hard: float = DEFAULT_HARD
    seed: int = 1
    name: str = KEPT_OUT
    pairs_setting: str = ""

    def __post_init__(self) -> None:
        check_set_name(self.name)
        if not 0 < self.share <= 1:
            raise DataError(f"share of identities must be above 0, at most 1. Received: share={self.share!r}")
        if not 0 <= self.hard <= 1:
            raise DataError(f"share of hard pairs must be in 0..1. Received: hard={self.hard!r}")
        if self.pairs is not None and (self.pairs % UNIT or not UNIT <= self.pairs <= MOST_PAIRS):
            raise DataError(
                f"pairs must be a multiple of {UNIT}, so that each of the 10 folds has both kinds in equal number, and "
                f"at most {MOST_PAIRS:,}. Received: pairs={self.pairs}"
            )

    def choose(self, sizes: Mapping[str, int], where: object) -> set[str]:
        """The identities that are kept out.

        A name's digest decides. So most people stay on their side when others come.

        Args:
          sizes: name of each identity -> how many images it has.
          where: the folder or file that they lie in, for the message.

        Raises:
          DataError: too few identities, or too few images of them for the pairs.
        """

        def rank(name: str) -> bytes:
            return hashlib.blake2b(f"{self.seed}/{identity_name(name)}".encode("utf-8", "surrogateescape")).digest()

        count = int(self.share * len(sizes) + 1e-9)  # 0.29 of 100 are 29, though 28.999... in binary
        ranked = sorted(sizes, key=rank)
        in_turn = np.array([sizes[name] for name in ranked], np.int64)
        if count < _LEAST_IDENTITIES:
            raise DataError(
                f"{where}: expected at least {_LEAST_IDENTITIES} identities to keep out. "
                f"Received: {self.share:g} of {len(sizes):,}{self._what_it_takes(in_turn)}"
            )
        self.number(in_turn[:count], where, exact=True, all_sizes=in_turn)
        return set(ranked[:count])

    def number(self, sizes: np.ndarray, where: object, *, exact: bool, all_sizes: np.ndarray | None = None) -> int:
        """How many pairs to draw of identities with so many images.

        Args:
          sizes: integers [K].
          where: the folder or file that they lie in, for the message.
          exact: fewer than were asked for are an error.
          all_sizes: of all identities, integers [N], in the order in which more would be kept out, for the message.

        Raises:
          DataError: too few images.
        """
        most = most_pairs(sizes)
        if not most or (exact and most < (self.pairs or UNIT)):
            separate = most_pairs(sizes, separate=True)
            alone = f"; {separate:,} with nobody in two folds" if 0 < separate < most else ""
            setting = setting_argument(f"{self.pairs_setting}={most}")
            asked = setting if self.pairs_setting else argument("pairs", str(most))
            enough = f"{most:,} pairs at most ({asked}{alone})"
            fewer = enough if most else f"fewer than {UNIT} pairs"
            more = argument("verify_identities")
            needed = "" if all_sizes is None else self._what_it_takes(all_sizes)
            raise DataError(
                f"{where}: expected {self.pairs or UNIT:,} pairs of the {len(sizes):,} identities that are kept out, "
                f"half of either kind. Received: {sizes.sum():,} images of them, which make {fewer}; a larger "
                f"{more} keeps out more{needed}"
            )
        if self.pairs is not None:
            return min(self.pairs, most)
        return min(DEFAULT_PAIRS, usual_pairs(sizes))

    def _what_it_takes(self, in_turn: np.ndarray) -> str:
        """Says how many of all identities, in the order in which they are kept out, make the pairs that are asked for.

        Args:
          in_turn: images of each identity, integers [N].
        """
        wanted = self.pairs or UNIT
        if most_pairs(in_turn) < wanted:
            several = int(np.count_nonzero(in_turn > 1))
            return (
                f": {wanted // 2:,} pairs of one person are needed, and all {len(in_turn):,} identities have "
                f"{int((in_turn * (in_turn - 1) // 2).sum()):,} ({several:,} have two images or more)"
            )
        low, high = _LEAST_IDENTITIES, len(in_turn)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if most_pairs(in_turn[:middle]) >= wanted else (middle + 1, high)
        share = -(-low * 1000 // len(in_turn)) / 1000  # rounded up
        return f": {low:,} of {len(in_turn):,} identities are needed, a share of {share:g}"
