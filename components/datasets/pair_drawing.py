"""Pairs of a verification set, drawn from images of which only the people are known. Pure and by seed; numpy alone.

Half of the pairs show one person, and each of the ten folds, which InsightFace cuts in file order, has both kinds in
equal number. Where there are people enough, nobody is in two folds: a fold then judges by strangers to the nine that
its threshold comes from, as LFW's do. Few people make few combinations of two: of these, many pairs of images say
little more than some. A part of the pairs of different people is hard: each is the pair that looks most
alike of `LOOKS` drawn ones.
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from components.datasets.pair_facts import FOLDS, UNIT

LOOKS = 100
LOOK = 128  # values of a thumbnail
# Pairs of images of each combination of two people, if nobody asks for more. Chance meets a tenth of the combinations
# never: so those that it meets come 3.3 times on average, below the 4 that are too many.
USUAL = 3

_ENOUGH = 8  # of so many times the pairs that are wanted, drawing finds new ones at least three times of four
_TRIES = 10
_AT_A_TIME = 25_600  # distances: with thumbnails, their differences of 4 bytes take 13 MB
_SIDE = 16  # of a thumbnail
_MIDDLE = (slice(20, 100), slice(16, 96))  # of InsightFace's template: 80x80 pixels from brows to chin

# (n) -> int64 [n, 2], pairs of images of different people, maybe some of them again
_Proposal = Callable[[int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class DrawnPairs:
    """P pairs, in the order of their folds.

    Attributes:
      images: int64 [P, 2], different images each, and no pair twice.
      is_same: bool [P], True and False in turn.
      hard: how many pairs of different people are hard.
      separate: nobody is in two folds.
      combinations: of two people, how many the pairs of different people show.
    """

    images: np.ndarray
    is_same: np.ndarray
    hard: int
    separate: bool
    combinations: int


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """What an aligned face looks like from afar: 16x16 grey values of its middle, without brightness and contrast.

    Each half is taken with the mirrored other one, so that two faces are alike whichever way they turn. Whole numbers
    all the way, so that every processor finds the same pair most alike.

    Args:
      pixels: uint8 [112, 112, 3].

    Returns:
      int16 [128], of mean 0 and length about 1000; zeros for an image of one colour.
    """
    face = pixels[_MIDDLE].reshape(_SIDE, 80 // _SIDE, _SIDE, -1).sum(axis=(1, 3), dtype=np.int64)
    sums = (face + face[:, ::-1])[:, : _SIDE // 2].ravel()
    centred = sums.size * sums - sums.sum()
    length = np.sqrt(np.square(centred.astype(np.float64)).sum())
    return np.zeros(LOOK, np.int16) if length == 0 else np.rint(1000 * centred / length).astype(np.int16)


def most_pairs(sizes: np.ndarray, *, separate: bool = False, often: int | None = None) -> int:
    """How many pairs can be drawn.

    Args:
      sizes: images of each person, integers [K].
      separate: nobody may be in two folds.
      often: so many pairs of images of each combination of two people, on average; None for all.

    Returns:
      A multiple of 20; 0 where that is more than there are.
    """
    sizes = np.asarray(sizes, np.int64)
    if separate:
        folds = _deal(sizes, np.random.default_rng(0))
        return UNIT * min(_most_of_a_kind(sizes[fold], often) for fold in folds)
    return 2 * _most_of_a_kind(sizes, often) // UNIT * UNIT


def people_for(pairs: int) -> int:
    """How many people bear so many pairs, with nobody in two folds, and `USUAL` of each combination of two.

    Args:
      pairs: a multiple of 20.
    """
    count = next(k for k in itertools.count(2) if USUAL * _combinations(k) >= pairs // UNIT)
    return FOLDS * count


def draw_pairs(sizes: np.ndarray, looks: np.ndarray, pairs: int, *, hard: float, seed: int) -> DrawnPairs:
    """Draws pairs of each kind, as evenly over the people as their images allow.

    Args:
      sizes: images of each person, integers [K]; those of the first are images 0 .. sizes[0] - 1, and so on.
      looks: of each image, integers [N, D], which are close for images that look alike (`thumbnail`).
      pairs: a multiple of 20, at most `most_pairs(sizes)`.
      hard: share of the pairs of different people that are to be hard, 0..1.
      seed: another one gives other pairs.

    Returns:
      The pairs; nobody is in two folds if `most_pairs(sizes, separate=True)` allows it.

    Raises:
      ValueError: another number of pairs.
    """
    sizes = np.asarray(sizes, np.int64)
    most = most_pairs(sizes)
    if not 0 < pairs <= most or pairs % UNIT:
        raise ValueError(f"expected a multiple of {UNIT} pairs, at most {most}. Received: pairs={pairs}")
    rng = np.random.default_rng(seed)
    starts = np.cumsum(sizes) - sizes
    separate = pairs <= most_pairs(sizes, separate=True)
    groups = _deal(sizes, rng) if separate else [np.arange(len(sizes))]
    count = pairs // 2 // len(groups)
    same, different, found = [], [], 0
    for people in groups:
        group = _Group(starts[people], sizes[people], rng)
        same.append(group.same(count))
        hard_ones, others = group.different(count, round(hard * count), looks)
        different.append(np.concatenate([hard_ones, others]))
        found += len(hard_ones)
    if not separate:  # to the folds in turn, so that each gets its part of the hard ones, which come first
        same, different = (list(kind[0].reshape(-1, FOLDS, 2).swapaxes(0, 1)) for kind in (same, different))
    images = np.stack([np.concatenate(same), np.concatenate(different)], axis=1).reshape(-1, 2)
    people = np.sort(np.repeat(np.arange(len(sizes)), sizes)[images[1::2]], axis=1)
    combinations = len(np.unique(people, axis=0))
    return DrawnPairs(images, np.tile([True, False], pairs // 2), found, separate, combinations)


def _deal(sizes: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """People of each fold: dealt to and fro from the one with the most images on, those of equal number by chance."""
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    turn, place = np.divmod(np.arange(len(order)), FOLDS)
    fold = np.where(turn % 2, FOLDS - 1 - place, place)
    return [np.sort(order[fold == number]) for number in range(FOLDS)]


def _pairs_of(sizes: np.ndarray) -> np.ndarray:
    """How many pairs of images each person has."""
    return sizes * (sizes - 1) // 2


def _different(sizes: np.ndarray) -> int:
    """How many pairs of images of different people there are."""
    return int(sizes.sum() ** 2 - np.square(sizes).sum()) // 2


def _combinations(people: int) -> int:
    """How many combinations of two people there are."""
    return people * (people - 1) // 2


def _most_of_a_kind(sizes: np.ndarray, often: int | None) -> int:
    different = _different(sizes)
    if often is not None:
        different = min(different, often * _combinations(len(sizes)))
    return min(int(_pairs_of(sizes).sum()), different)


class _Group:
    """People among whom pairs are drawn.

    Args:
      starts: first image of each, int64 [k].
      sizes: images of each, int64 [k].
      rng: where chance comes from.
    """

    def __init__(self, starts: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> None:
        self._starts, self._sizes, self._rng = starts, sizes, rng
        self._ends = np.cumsum(sizes)  # of each person in the group's own count of images
        self._taken: set[tuple[int, int]] = set()

    def same(self, count: int) -> np.ndarray:
        """Pairs of one person each, int64 [count, 2]; as many of each as their images allow."""
        shares = _share_out(_pairs_of(self._sizes), count, self._rng)
        found = []
        for person in np.flatnonzero(shares).tolist():
            size = int(self._sizes[person])
            ranks = self._rng.choice(size * (size - 1) // 2, int(shares[person]), replace=False)
            found.append(self._starts[person] + _unrank(ranks))
        return self._rng.permutation(np.concatenate(found))

    def different(self, count: int, hard: int, looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of two people each: hard ones, int64 [h, 2] with h <= hard, and others, int64 [count - h, 2]."""
        if _different(self._sizes) <= _ENOUGH * count:
            every = self._rng.permutation(self._every())
            alike = np.argsort(_distances(looks, every[:, :1], every[:, 1:])[:, 0], kind="stable")[:hard]
            others = np.delete(every, alike, axis=0)[: count - len(alike)]
            return every[alike], others
        hard_ones = self._new(hard, lambda n: self._alike(n, looks), _TRIES)
        others = self._new(count - len(hard_ones), self._by_person, _TRIES)
        rest = self._new(count - len(hard_ones) - len(others), self._by_image, None)
        return hard_ones, np.concatenate([others, rest])

    def _every(self) -> np.ndarray:
        """All pairs of different people, int64 [M, 2]."""
        owner = np.repeat(np.arange(len(self._sizes)), self._sizes)
        place = self._global(np.arange(len(owner)), owner)
        blocks = [
            np.stack(np.meshgrid(place[owner == person], place[self._ends[person] :], indexing="ij"), axis=-1)
            for person in range(len(self._sizes))
        ]
        return np.concatenate([block.reshape(-1, 2) for block in blocks])

    def _new(self, count: int, propose: _Proposal, tries: int | None) -> np.ndarray:
        """Pairs that weren't drawn before, int64 [<= count, 2]; fewer only after so many tries."""
        found: list[tuple[int, int]] = []
        while len(found) < count and tries != 0:
            tries = None if tries is None else tries - 1
            for a, b in np.sort(propose(count - len(found)), axis=1).tolist():
                if (a, b) not in self._taken:
                    self._taken.add((a, b))
                    found.append((a, b))
        return np.array(found, np.int64).reshape(-1, 2)

    def _alike(self, count: int, looks: np.ndarray) -> np.ndarray:
        """Of `LOOKS` images of others than an image's person, the one that looks most like it."""
        first, owner = self._of_anybody(count)
        others = self._of_others(owner[:, None], (count, LOOKS))
        nearest = _distances(looks, first[:, None], others).argmin(axis=1)
        return np.stack([first, others[np.arange(count), nearest]], axis=1)

    def _by_person(self, count: int) -> np.ndarray:
        """An image of anybody and one of anybody else, each person as likely as any other."""
        first, owner = self._of_anybody(count)
        return np.stack([first, self._of_others(owner, (count,))], axis=1)

    def _by_image(self, count: int) -> np.ndarray:
        """Any image, and any of another person: finds what is left where few people have most of the images."""
        first = self._rng.integers(self._ends[-1], size=count)
        owner = np.searchsorted(self._ends, first, side="right")
        size = self._sizes[owner]
        second = self._rng.integers(self._ends[-1] - size)
        second += np.where(second >= self._ends[owner] - size, size, 0)
        other = np.searchsorted(self._ends, second, side="right")
        return np.stack([self._global(first, owner), self._global(second, other)], axis=1)

    def _of_anybody(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        owner = self._rng.integers(len(self._sizes), size=count)
        return self._starts[owner] + self._rng.integers(self._sizes[owner]), owner

    def _of_others(self, owner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        others = (owner + self._rng.integers(1, len(self._sizes), size=shape)) % len(self._sizes)
        return self._starts[others] + self._rng.integers(self._sizes[others])

    def _global(self, local: np.ndarray, owner: np.ndarray) -> np.ndarray:
        """The group's own numbers of images -> those of all images."""
        return local - (self._ends - self._sizes)[owner] + self._starts[owner]


def _share_out(most: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """As even shares of `count` as fit: nobody gets more than `most` of theirs. int64 [k] of int64 [k]."""
    low, high = 0, int(most.max())  # the share that all get who have as much, by bisection
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(most, middle).sum() <= count else (low, middle - 1)
    shares = np.minimum(most, low)
    more = rng.choice(np.flatnonzero(most > low), count - int(shares.sum()), replace=False)
    shares[more] += 1
    return shares


def _unrank(ranks: np.ndarray) -> np.ndarray:
    """Rank of a pair -> the pair, int64 [n, 2] with a < b: 0 is (0, 1), 1 is (0, 2), 2 is (1, 2), 3 is (0, 3)."""
    second = ((1 + np.sqrt(1 + 8 * ranks)) / 2).astype(np.int64)
    second -= second * (second - 1) // 2 > ranks
    return np.stack([ranks - second * (second - 1) // 2, second], axis=1)


def _distances(looks: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared differences of images' looks, int64 [n, m] of images int64 [n, 1] and [n, m]."""
    found = np.empty(second.shape, np.int64)
    rows = max(1, _AT_A_TIME // second.shape[1])
    for begin in range(0, len(second), rows):
        block = slice(begin, begin + rows)
        difference = looks[first[block]].astype(np.int32) - looks[second[block]]
        found[block] = np.square(difference).sum(axis=-1, dtype=np.int64)
    return found
