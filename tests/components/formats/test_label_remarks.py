"""What is said where header and identity records differ from the images' own labels."""

import numpy as np
import pytest

from components.formats.recordio import DatasetLayout, label_remarks


def of_ranges(labels: list[int], ranges: list[tuple[int, int]]) -> tuple[str, ...]:
    """The remarks on images at keys 1, 2, ... and identity records with these ranges, ends excluded."""
    keys = np.arange(1, len(labels) + 1)
    first = len(labels) + 1
    layout = DatasetLayout(
        keys, keys * 100, first + np.arange(len(ranges)), np.array(ranges) - (0, 1), num_identities=len(ranges)
    )
    order = np.random.default_rng(1).permutation(len(labels))  # as ingest reads them
    return label_remarks(layout, keys[order], np.array(labels, np.int32)[order], len(set(labels)))


@pytest.mark.parametrize(
    ("labels", "ranges", "expected"),
    [
        ([5, 5, 8], [(1, 3), (3, 4)], ()),
        ([5, 5, 2**31 - 1], [(1, 3), (3, 3), (3, 4)], ("3 identities announced, and 2 labels in the images",
                                                       "1 identity record without an image: 5")),
        ([7, 9, 7, 9], [(1, 2), (2, 3), (3, 4), (4, 5)], ("4 identities announced, and 2 labels in the images",
                                                          "2 labels in several identity records: 7, 9")),
        ([0, 1, 1, 0], [(1, 3), (3, 5)], ("2 identity records with images of several labels: 5, 6",
                                          "2 labels in several identity records: 0, 1")),
        ([0, 0, 1], [(1, 4), (3, 4)], ("1 identity record whose images another one claims, too: 5",)),
        ([0, 0, 1], [(1, 2), (3, 4)], ("1 image that no identity record claims: 2",)),
    ],
)  # fmt: skip
def test_where_labels_and_identity_records_differ(labels: list, ranges: list, expected: tuple[str, ...]) -> None:
    assert of_ranges(labels, ranges) == expected


def test_without_a_header_nothing_is_announced() -> None:
    keys, none = np.arange(3), np.empty(0, np.int64)
    layout = DatasetLayout(keys, keys * 100, none, none.reshape(0, 2), num_identities=None)
    assert label_remarks(layout, keys, np.array([0, 0, 7]), 2) == ()
