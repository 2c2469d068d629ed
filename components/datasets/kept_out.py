"""Identities that are kept out of training, and the verification set that is drawn of them.

A model that trained on a person says nothing about new faces by that person's pairs. So whole identities are kept out,
and a picture that lies under one of them and under a trained one is left out of both.
"""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from arcface_common.console import progress
from arcface_common.digests import image_digest
from arcface_common.errors import DataError
from components.datasets.face_files import FaceFiles
from components.datasets.identity_folders import identity_name
from components.datasets.pair_drawing import LOOK, UNIT, DrawnPairs, draw_pairs, most_pairs, thumbnail
from components.datasets.pair_list import check_set_name

DEFAULT_PAIRS = 6000  # as many as LFW has
DEFAULT_HARD = 0.25
KEPT_OUT = "kept_out"

_MOST_PAIRS = 200_000  # of two images of 2.7 KB they fill the 1 GiB that a set may have
_LEAST_IDENTITIES = 2
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class KeepOut:
    """What to keep out, and what to make of it.

    Attributes:
      share: of the identities, above 0 and at most 1; with 1 nobody is trained on.
      pairs: how many to draw, a multiple of 20; None for as many as the images bear with nobody in two folds, or at
        all where that is none, and at most 6,000.
      hard: share of the pairs of different people that are hard, 0..1, see `pair_drawing`.
      seed: another one keeps out other identities and draws other pairs.
      name: the set becomes `<name>.bin`.

    Raises:
      DataError: a value outside of its range, or a name that is no plain file name.
    """

    share: float
    pairs: int | None = None
    hard: float = DEFAULT_HARD
    seed: int = 1
    name: str = KEPT_OUT

    def __post_init__(self) -> None:
        check_set_name(self.name)
        if not 0 < self.share <= 1:
            raise DataError(f"share of identities must be above 0, at most 1. Received: share={self.share!r}")
        if not 0 <= self.hard <= 1:
            raise DataError(f"share of hard pairs must be in 0..1. Received: hard={self.hard!r}")
        if self.pairs is not None and (self.pairs % UNIT or not UNIT <= self.pairs <= _MOST_PAIRS):
            raise DataError(
                f"pairs must be a multiple of {UNIT}, so that each of the 10 folds has both kinds in equal number, and "
                f"at most {_MOST_PAIRS:,}. Received: pairs={self.pairs}"
            )

    def choose(self, identities: Mapping[str, list[Path]], folder: Path) -> dict[str, list[Path]]:
        """The identities that are kept out, in their order.

        A name's digest decides. So most people stay on their side when others come to the folder.

        Args:
          identities: name of each folder -> its images.
          folder: where they lie, for the message.

        Raises:
          DataError: too few identities, or too few images of them for the pairs.
        """

        def rank(name: str) -> bytes:
            return hashlib.blake2b(f"{self.seed}/{identity_name(name)}".encode("utf-8", "surrogateescape")).digest()

        count = int(self.share * len(identities) + 1e-9)  # 0.29 of 100 are 29, though 28.999... in binary
        if count < _LEAST_IDENTITIES:
            raise DataError(
                f"{folder}: expected at least {_LEAST_IDENTITIES} identities to keep out. "
                f"Received: {self.share:g} of {len(identities):,}"
            )
        chosen = set(sorted(identities, key=rank)[:count])
        kept = {name: files for name, files in identities.items() if name in chosen}
        self.number(np.array([len(files) for files in kept.values()]), folder, exact=True)
        return kept

    def number(self, sizes: np.ndarray, folder: Path, *, exact: bool) -> int:
        """How many pairs to draw of identities with so many images.

        Args:
          sizes: integers [K].
          folder: where they lie, for the message.
          exact: fewer than were asked for are an error.

        Raises:
          DataError: too few images.
        """
        most = most_pairs(sizes)
        if not most or (exact and most < (self.pairs or UNIT)):
            separate = most_pairs(sizes, separate=True)
            alone = f"; {separate:,} with nobody in two folds, as without --pairs" if 0 < separate < most else ""
            fewer = f"{most:,} pairs at most (--pairs {most}{alone})" if most else f"fewer than {UNIT} pairs"
            raise DataError(
                f"{folder}: expected {self.pairs or UNIT:,} pairs of the {len(sizes):,} identities that are kept out, "
                f"half of either kind. Received: {sizes.sum():,} images of them, which make {fewer}; a larger "
                "--verify-identities keeps out more"
            )
        if self.pairs is not None:
            return min(self.pairs, most)
        return min(DEFAULT_PAIRS, most_pairs(sizes, separate=True) or most)


class KeptSet(NamedTuple):
    """The set that was drawn.

    Attributes:
      files: the 2N images.
      drawn: the N pairs.
      owners: who is on each image, as the number of a kept identity, int64 [2N].
      identities: how many were kept out and have an image that can be used.
      images: how many of theirs can be used.
      remarks: what was left out and why, and what the pairs lack, a sentence each.
    """

    files: list[Path]
    drawn: DrawnPairs
    owners: np.ndarray
    identities: int
    images: int
    remarks: tuple[str, ...]


class KeptFaces:
    """The images of the identities that are kept out: 280 bytes of each stay in memory, 370 while others are compared.

    Args:
      asked: what was asked for.
      identities: name of each identity that is kept out -> its images.
    """

    def __init__(self, asked: KeepOut, identities: Mapping[str, list[Path]]) -> None:
        self._asked = asked
        self._files = [path for files in identities.values() for path in files]
        self._owners = np.repeat(np.arange(len(identities)), [len(files) for files in identities.values()])
        self._looks = np.zeros((len(self._files), LOOK), np.int16)
        self._digests = np.zeros(len(self._files), np.uint64)
        self._usable = np.zeros(len(self._files), np.bool_)
        self._shared: dict[int, Path] = {}

    def read(self, images: FaceFiles) -> None:
        """Looks at each image once; those that can't be used are noted by `images`."""
        for place, path in enumerate(progress(self._files, description="kept out", unit="img")):
            face = images.read(path)
            if face is not None:
                self._looks[place] = thumbnail(face.pixels)
                self._digests[place] = image_digest(face.encoded)
                self._usable[place] = True

    @functools.cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(self._digests[self._usable].tolist())

    def holds(self, encoded: bytes, path: Path) -> bool:
        """Whether an image of a trained identity is one of these, too; it is then left out of the set."""
        digest = image_digest(encoded)
        if digest in self._known:
            self._shared.setdefault(digest, path)
            return True
        return False

    def draw(self, folder: Path) -> KeptSet:
        """Draws the pairs.

        Args:
          folder: where the identities lie, for the message.

        Raises:
          DataError: too few images are left.
        """
        remarks = self._leave_out_copies()
        places = np.flatnonzero(self._usable)
        people, sizes = np.unique(self._owners[places], return_counts=True)
        pairs = self._asked.number(sizes, folder, exact=False)
        if self._asked.pairs not in (None, pairs):
            remarks.append(f"warning: {pairs:,} of the {self._asked.pairs:,} pairs: the images make no more")
        drawn = draw_pairs(sizes, self._looks[places], pairs, hard=self._asked.hard, seed=self._asked.seed)
        if not drawn.separate:
            separate = most_pairs(sizes, separate=True)
            enough = f"up to {separate:,} pairs" if separate else "more identities"
            remarks.append(
                "warning: people occur in several of the ten folds, whose thresholds then come from people that they "
                f"know; {enough} can do without"
            )
        flat = places[drawn.images.ravel()]
        files = [self._files[place] for place in flat]
        return KeptSet(files, drawn, self._owners[flat], len(people), len(places), tuple(remarks))

    def _leave_out_copies(self) -> list[str]:
        """Leaves out what lies under two identities; of a picture that lies twice under one, the first stays.

        Returns:
          What was left out, a sentence for each kind.
        """
        groups: dict[int, list[int]] = collections.defaultdict(list)
        values, counts = np.unique(self._digests[self._usable], return_counts=True)
        looked_for = np.concatenate([values[counts > 1], np.array(list(self._shared), np.uint64)])
        for place in np.flatnonzero(self._usable & np.isin(self._digests, looked_for)).tolist():
            groups[int(self._digests[place])].append(place)
        trained = [(groups.pop(digest), path) for digest, path in self._shared.items()]
        several = [places for places in groups.values() if len(places) > 1]
        of_two = [places for places in several if self._owners[places[0]] != self._owners[places[-1]]]
        again = [places for places in several if self._owners[places[0]] == self._owners[places[-1]]]
        for places in (*(places for places, _ in trained), *of_two, *(places[1:] for places in again)):
            self._usable[places] = False
        files = self._files
        return [
            *_counted(
                ((files[places[0]], path) for places, path in trained),
                "under an identity that is kept out and a trained one, left out of both",
            ),
            *_counted(((files[x[0]], files[x[-1]]) for x in of_two), "under two that are kept out, left out"),
            *_counted(((files[x[0]], files[x[1]]) for x in again), "twice of one identity, taken once"),
        ]


def _counted(pairs: Iterable[tuple[Path, Path]], what: str) -> list[str]:
    """A warning about pictures that lie in two places, with the first of them; none without."""
    named = [f"{a.parent.name}/{a.name} = {b.parent.name}/{b.name}" for a, b in pairs]
    if not named:
        return []
    return [f"warning: pictures {what}: {len(named):,} ({', '.join(named[:_SHOWN])}{', ...' * (len(named) > _SHOWN)})"]
