"""Pairs that are drawn: both kinds in each fold, none twice, people apart where they can be."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.datasets.pair_drawing import FOLDS, LOOK, UNIT, USUAL, draw_pairs, most_pairs, people_for, thumbnail

SIZES = st.lists(st.integers(1, 12), min_size=2, max_size=60).map(np.array)


def _owners(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def _looks(sizes, seed=0):
    return np.random.default_rng(seed).integers(-500, 500, (int(np.sum(sizes)), LOOK), dtype=np.int16)


def _by_hand(sizes):
    """Pairs of images of one person, and of two."""
    same = [a == b for a, b in itertools.combinations(_owners(sizes).tolist(), 2)]
    return sum(same), len(same) - sum(same)


@given(SIZES, st.floats(0, 1), st.integers(0, 3), st.floats(0, 1))
@settings(deadline=None)
def test_any_images_give_balanced_folds_of_different_pairs(sizes, share, seed, hard):
    most = most_pairs(sizes)
    assert most == 2 * min(_by_hand(sizes)) // UNIT * UNIT
    assume(most)
    pairs = max(1, int(share * most) // UNIT) * UNIT
    drawn = draw_pairs(sizes, _looks(sizes), pairs, hard=hard, seed=seed)
    owners = _owners(sizes)[drawn.images]
    assert drawn.images.shape == (pairs, 2)
    np.testing.assert_array_equal(drawn.is_same, owners[:, 0] == owners[:, 1])
    assert drawn.is_same.reshape(FOLDS, -1).sum(axis=1).tolist() == [pairs // UNIT] * FOLDS
    assert (drawn.images[:, 0] != drawn.images[:, 1]).all()
    assert len(np.unique(np.sort(drawn.images, axis=1), axis=0)) == pairs
    assert 0 <= drawn.hard <= (FOLDS * round(hard * pairs / UNIT) if drawn.separate else round(hard * pairs / 2))
    people = [set(fold.ravel().tolist()) for fold in owners.reshape(FOLDS, -1, 2)]
    if drawn.separate:
        assert sum(map(len, people)) == len(set().union(*people))
    assert drawn.separate == (pairs <= most_pairs(sizes, separate=True))
    assert drawn.combinations == len(np.unique(np.sort(owners[~drawn.is_same], axis=1), axis=0))


@given(SIZES)
def test_what_can_be_drawn_with_everybody_in_one_fold_is_no_more_than_all(sizes):
    separate = most_pairs(sizes, separate=True)
    assert separate % UNIT == 0
    assert separate <= most_pairs(sizes)
    if len(sizes) < 2 * FOLDS:
        assert separate == 0  # a fold of one person has no pair of two


def test_few_people_bear_few_pairs():
    """32 people have 36 combinations of two in folds of their own: 1,120 different pairs would use each 31 times."""
    sizes = np.array([20] * 32)
    assert most_pairs(sizes, separate=True) > 2 * 1120
    assert most_pairs(sizes, separate=True, often=3) == UNIT * 3 * 3  # a fold of 3 people has 3 combinations
    assert draw_pairs(sizes, _looks(sizes), 2240, hard=0.25, seed=0).combinations == 36
    assert most_pairs(sizes, often=3) == 2 * 3 * 32 * 31 // 2 // UNIT * UNIT


@pytest.mark.parametrize(("pairs", "people"), [(20, 20), (60, 20), (80, 30), (2240, 100), (6000, 150), (200_000, 830)])
def test_how_many_people_bear_so_many_pairs(pairs, people):
    assert people_for(pairs) == people
    sizes = np.array([300] * people)
    assert most_pairs(sizes, separate=True, often=USUAL) >= pairs


def test_a_seed_decides():
    sizes = np.array([5] * 40)
    first, again, other = (draw_pairs(sizes, _looks(sizes), 200, hard=0.5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.images != other.images).any()


def test_everybody_gives_as_many_pairs_as_their_images_allow():
    """Of one with 300 images and 39 with 3, the one doesn't fill a kind of pairs by himself."""
    sizes = np.array([300] + [3] * 39)
    drawn = draw_pairs(sizes, _looks(sizes), 200, hard=0, seed=0)
    owners = _owners(sizes)[drawn.images]
    of_one = np.bincount(owners[drawn.is_same][:, 0], minlength=40)
    assert of_one.max() <= 4  # 10 pairs in each fold, of 4 people with 3 pairs or more
    in_two = np.bincount(owners[~drawn.is_same].ravel(), minlength=40)
    assert in_two[0] <= 12  # of 20 images in a fold of 4 people


@pytest.mark.parametrize("sizes", [[2000, 1], [1000, 1000], [500, *[1] * 30], [3000, 2, 2, 2]])
def test_few_people_with_most_of_the_images_are_no_endless_search(sizes):
    pairs = most_pairs(sizes)
    for wanted in (min(pairs, 6000), 20):
        drawn = draw_pairs(np.array(sizes), _looks(sizes), wanted, hard=0.25, seed=0)
        assert len(np.unique(np.sort(drawn.images, axis=1), axis=0)) == wanted


def test_hard_pairs_look_alike_and_every_fold_has_some():
    sizes = np.array([4] * 200)
    looks = _looks(sizes)

    def distances(drawn):
        first, second = looks[drawn.images[~drawn.is_same].T].astype(np.int64)
        return np.square(first - second).sum(axis=1).reshape(FOLDS, -1)

    plain, some = (distances(draw_pairs(sizes, looks, 400, hard=hard, seed=3)) for hard in (0, 0.25))
    drawn = draw_pairs(sizes, looks, 400, hard=0.25, seed=3)
    assert drawn.hard == FOLDS * 5
    # The nearest of 100: below nearly all plain ones, in each fold alike.
    assert ((some < np.quantile(plain, 0.05)).sum(axis=1) >= 4).all()
    few = np.array([30] * 12)  # everybody in all folds
    drawn = draw_pairs(few, _looks(few), 400, hard=0.25, seed=3)
    assert (drawn.hard, drawn.separate) == (50, False)


@pytest.mark.parametrize("pairs", [0, -20, 10, 30, 100_000])
def test_other_numbers_of_pairs_are_refused(pairs):
    sizes = np.array([5] * 40)
    with pytest.raises(ValueError, match=rf"a multiple of 20 pairs, at most 800. Received: pairs={pairs}"):
        draw_pairs(sizes, _looks(sizes), pairs, hard=0, seed=0)


def test_a_thumbnail_is_of_block_means_without_brightness_contrast_and_side():
    pixels = np.random.default_rng(0).integers(0, 100, (112, 112, 3), dtype=np.uint8)
    blocks = np.asarray(Image.fromarray(pixels[20:100, 16:96]).reduce(5), np.float64).mean(axis=2)  # whole levels
    half = (blocks + np.fliplr(blocks))[:, :8]
    found = thumbnail(pixels)
    assert (found.dtype, found.shape) == (np.int16, (LOOK,))
    assert np.corrcoef(found, half.ravel())[0, 1] > 0.98
    assert np.sqrt(np.square(found.astype(np.int64)).sum()) == pytest.approx(1000, rel=0.01)
    np.testing.assert_array_equal(found, thumbnail(pixels * 2 + 7))
    np.testing.assert_array_equal(found, thumbnail(pixels[:, ::-1]))
    assert not thumbnail(np.full((112, 112, 3), 9, np.uint8)).any()
