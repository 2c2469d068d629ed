"""The images of identities that are kept out of training, and the verification set that is drawn of them.

A picture that lies under one of them and under a trained one is in no pair. Two files are one picture where their bytes
are the same: what was saved again is another one.
"""

import collections
import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from arcface_common.digests import image_digest
from arcface_common.protocol.combinations import overused
from components.datasets.kept_out import KeepOut, usual_pairs
from components.datasets.pair_drawing import (
    LOOK,
    LOOKS,
    DrawnPairs,
    draw_pairs,
    most_pairs,
    people_for,
    thumbnail,
)

_SHOWN = 3


class KeptSet(NamedTuple):
    """The set that was drawn.

    Attributes:
      places: of the 2N images, int64 [2N].
      drawn: the N pairs.
      owners: who is on each image, as the number of a kept identity, int64 [2N].
      identities: how many were kept out and have an image that can be used.
      images: how many of theirs can be used.
      remarks: what was left out and why, and what the pairs lack, a sentence each.
    """

    places: np.ndarray
    drawn: DrawnPairs
    owners: np.ndarray
    identities: int
    images: int
    remarks: tuple[str, ...]

    def line(self) -> str:
        """What was drawn, for a person."""
        folds = ", nobody in two folds" if self.drawn.separate else ""
        identities = "identity" if self.identities == 1 else "identities"
        return (
            f"kept out: {self.identities:,} {identities} ({self.images:,} images){folds}; {self.drawn.hard:,} hard "
            f"pairs (the most alike of {LOOKS} by thumbnail); the different pairs show {self.drawn.combinations:,} "
            "combinations of two people"
        )


class KeptFaces:
    """The images of the identities that are kept out: 280 bytes of each stay in memory, 370 while others are compared.

    Args:
      asked: what was asked for.
      owners: of each image, the number of its identity, int64 [N], ascending.
      name: what a person calls the image of a place 0 .. N - 1.
    """

    def __init__(self, asked: KeepOut, owners: np.ndarray, name: Callable[[int], str]) -> None:
        self._asked = asked
        self._owners = owners
        self._name = name
        self._looks = np.zeros((len(owners), LOOK), np.int16)
        self._digests = np.zeros(len(owners), np.uint64)
        self._usable = np.zeros(len(owners), np.bool_)
        self._shared: dict[int, str] = {}

    def add(self, place: int, encoded: bytes, pixels: np.ndarray) -> None:
        """Looks at an image that can be used.

        Args:
          place: 0 .. N - 1.
          encoded: its bytes.
          pixels: uint8 [112, 112, 3].
        """
        self._looks[place] = thumbnail(pixels)
        self._digests[place] = image_digest(encoded)
        self._usable[place] = True

    @functools.cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(self._digests[self._usable].tolist())

    def holds(self, digest: int, name: str) -> bool:
        """Whether an image of a trained identity is one of these, too; it is then left out of the set.

        Args:
          digest: `image_digest` of it.
          name: what a person calls it.
        """
        if digest in self._known:
            self._shared.setdefault(digest, name)
            return True
        return False

    def leave_out(self, digests: np.ndarray) -> list[str]:
        """Leaves images out of the set that are trained on under another identity, and says so.

        Args:
          digests: `image_digest` of the images that are trained on, uint64 [M].
        """
        places = np.flatnonzero(self._usable & np.isin(self._digests, digests))
        self._usable[places] = False
        return _named(map(self._name, places.tolist()), "that are trained on under another identity, left out")

    def draw(self, where: object) -> KeptSet:
        """Draws the pairs.

        Args:
          where: the folder or file that the identities lie in, for the message.

        Raises:
          DataError: too few images are left.
        """
        remarks = self._leave_out_copies()
        places = np.flatnonzero(self._usable)
        people, sizes = np.unique(self._owners[places], return_counts=True)
        pairs = self._asked.number(sizes, where, exact=False)
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
        remarks += _worn(drawn, sizes)
        chosen = places[drawn.images.ravel()]
        return KeptSet(chosen, drawn, self._owners[chosen], len(people), len(places), tuple(remarks))

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
        trained = [(groups.pop(digest), name) for digest, name in self._shared.items()]
        several = [places for places in groups.values() if len(places) > 1]
        of_two = [places for places in several if self._owners[places[0]] != self._owners[places[-1]]]
        again = [places for places in several if self._owners[places[0]] == self._owners[places[-1]]]
        for places in (*(places for places, _ in trained), *of_two, *(places[1:] for places in again)):
            self._usable[places] = False
        name = self._name
        return [
            *_counted(
                ((name(places[0]), other) for places, other in trained),
                "under an identity that is kept out and a trained one, left out of both",
            ),
            *_counted(((name(x[0]), name(x[-1])) for x in of_two), "under two that are kept out, left out"),
            *_counted(((name(x[0]), name(x[1])) for x in again), "twice of one identity, taken once"),
        ]


def _worn(drawn: DrawnPairs, sizes: np.ndarray) -> list[str]:
    """A warning where few combinations of two people make many pairs; none elsewhere.

    Args:
      drawn: the pairs.
      sizes: images of each person, integers [K].
    """
    pairs, borne = len(drawn.is_same), usual_pairs(sizes)
    said = overused(pairs // 2, drawn.combinations)
    if not said:
        return []
    enough = f"; {people_for(pairs):,} people bear so many pairs, these {len(sizes):,} up to {borne:,}"
    return [f"warning: {said}{enough if borne < pairs else ''}"]


def _counted(pairs: Iterable[tuple[str, str]], what: str) -> list[str]:
    """A warning about pictures that lie in two places, with the first of them; none without."""
    return _named((f"{first} = {second}" for first, second in pairs), what)


def _named(names: Iterable[str], what: str) -> list[str]:
    """A warning about pictures, with the first of them; none without."""
    named = list(names)
    if not named:
        return []
    return [
        f"warning: pictures of the same bytes {what}: {len(named):,} "
        f"({', '.join(named[:_SHOWN])}{', ...' * (len(named) > _SHOWN)})"
    ]
