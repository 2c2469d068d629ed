"""A few combinations of two people, repeated, are said to bear less than their pairs."""

import numpy as np

from arcface_common.protocol.combinations import overused, overused_in


def test_more_than_four_pairs_of_each_combination_are_too_many():
    assert overused(144, 36) == ""
    assert overused(0, 0) == ""
    assert overused(1120, 36) == (
        "1,120 pairs of different people show 36 combinations of two, 31.1 times each: figures and intervals take "
        "pairs as independent, and claim more than these people can bear"
    )


def test_pairs_count_whose_two_people_are_known():
    of_two = [["1", "2"], ["2", "1"], ["1", "2"], ["2", "1"]]
    assert overused_in(of_two, np.zeros(4, np.bool_)) == ""
    others = [["1", "2"], ["1"], [], ["7"], ["7"]]
    is_same = np.array([False] * 7 + [True] * 2)
    assert overused_in(of_two + others, is_same).startswith("5 pairs of different people show 1 combinations of two, 5")
