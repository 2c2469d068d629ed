"""How many combinations of two people a set's pairs of different people show: few of them bear few pairs."""

from collections.abc import Sequence

import numpy as np

OFTEN = 4  # pairs of images of each combination, on average; more say little that is new


def overused(pairs: int, combinations: int) -> str:
    """Why figures of such pairs claim too much, "" where they don't.

    Args:
      pairs: of different people.
      combinations: of two people, that these pairs show.
    """
    if pairs <= OFTEN * combinations:
        return ""
    return (
        f"{pairs:,} pairs of different people show {combinations:,} combinations of two, {pairs / combinations:.1f} "
        "times each: figures and intervals take pairs as independent, and claim more than these people can bear"
    )


def overused_in(identities: Sequence[Sequence[str]], is_same: np.ndarray) -> str:
    """`overused` of a set, by those of its pairs whose people are known.

    Args:
      identities: labels of the people in each pair, as far as they are known.
      is_same: bool [N].
    """
    pairs = [frozenset(people) for people, same in zip(identities, is_same.tolist(), strict=True) if not same]
    known = [people for people in pairs if len(people) == 2]
    return overused(len(known), len(set(known)))
