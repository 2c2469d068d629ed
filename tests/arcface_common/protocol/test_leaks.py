"""What a verification set shares with the training set."""

import numpy as np

from arcface_common.protocol.leaks import Leak, TrainingContent, find_leak, leak_warnings, leaked_share

TRAINING = TrainingContent(np.array([3, 5, 2**64 - 1], np.uint64), np.array([0, 7, 9]))


def test_images_and_people_are_counted_once():
    digests = np.array([[3, 4], [4, 6], [6, 3], [2**64 - 1, 5]], np.uint64)
    identities = [["7"], ["7", "8"], ["Ann"], []]
    leak = find_leak(digests, identities, TRAINING)
    assert leak == Leak(images=5, shared_images=3, pairs=4, shared_pairs=3, identities=3, shared_identities=1)


def test_the_share_is_that_of_images_or_of_people_whichever_is_larger():
    images = Leak(images=40, shared_images=10, pairs=20, shared_pairs=9, identities=5, shared_identities=1)
    assert leaked_share(images.to_dict()) == 0.25
    people = Leak(images=40, shared_images=0, pairs=20, shared_pairs=0, identities=5, shared_identities=4)
    assert leaked_share(people.to_dict()) == 0.8
    unnamed = Leak(images=40, shared_images=0, pairs=20, shared_pairs=0, identities=0, shared_identities=0)
    assert leaked_share(unnamed.to_dict()) == 0


def test_nothing_shared_is_no_warning():
    clean = find_leak(np.array([[1, 2]], np.uint64), [["1"]], TRAINING).to_dict()
    assert leak_warnings({"lfw": clean}) == []
    leaks = {"lfw": {**clean, "images": 7701, "shared_images": 12}, "mine": {**clean, "shared_identities": 1}}
    assert leak_warnings(leaks) == [
        "lfw: 12 of 7,701 images are in the training set: its figures say nothing about new faces",
        "mine: 1 of 1 identities are in the training set: its figures say nothing about new faces",
    ]
