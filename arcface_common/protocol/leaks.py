"""Whether a verification set shares images or people with the training set: its figures then flatter the model.

numpy and the standard library only.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_KINDS = ("images", "identities")


@dataclasses.dataclass(frozen=True)
class TrainingContent:
    """What is known about the training set.

    Attributes:
      digests: of its distinct images, uint64 [N], ascending.
      identities: its labels, int64 [C].
    """

    digests: np.ndarray
    identities: np.ndarray


@dataclasses.dataclass(frozen=True)
class Leak:
    """What a verification set shares with the training set.

    Attributes:
      images: distinct images in the set.
      shared_images: those of them that are training images, byte for byte.
      pairs: number of pairs.
      shared_pairs: pairs that hold such an image.
      identities: distinct people in the set whose labels are known.
      shared_identities: those of them that are trained on.
    """

    images: int
    shared_images: int
    pairs: int
    shared_pairs: int
    identities: int
    shared_identities: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)


def find_leak(digests: np.ndarray, identities: Sequence[Sequence[str]], training: TrainingContent) -> Leak:
    """Compares a set with the training set.

    Args:
      digests: of the images of each pair, uint64 [N, 2].
      identities: labels of the people in each pair, as far as they are known; text that is no whole number cannot be a
        training label.
      training: what the training set holds.

    Returns:
      What they share, which may be nothing.
    """
    shared = np.isin(digests, training.digests)
    people = {label for labels in identities for label in labels}
    trained = set(training.identities.tolist())
    return Leak(
        images=np.unique(digests).size,
        shared_images=np.unique(digests[shared]).size,
        pairs=len(digests),
        shared_pairs=int(shared.any(axis=1).sum()),
        identities=len(people),
        shared_identities=sum(label.isdecimal() and int(label) in trained for label in people),
    )


def leaked_share(leak: Mapping[str, int]) -> float:
    """How much of a set is in the training set, 0..1: the larger one of the shares of its images and of its people.

    Of people, those count whose labels the set's CSV knows.

    Args:
      leak: fields of `Leak`.
    """
    return max(leak[f"shared_{kind}"] / max(1, leak[kind]) for kind in _KINDS)


def leak_warnings(leaks: dict[str, dict[str, int]]) -> list[str]:
    """A sentence for each set that shares anything with the training set, for people.

    Args:
      leaks: set -> fields of `Leak`, as `verification.json` keeps them.
    """
    sentences = []
    for name, leak in leaks.items():
        parts = [f"{leak[f'shared_{kind}']:,} of {leak[kind]:,} {kind}" for kind in _KINDS if leak[f"shared_{kind}"]]
        if parts:
            sentences.append(
                f"{name}: {' and '.join(parts)} are in the training set: its figures say nothing about new faces"
            )
    return sentences
