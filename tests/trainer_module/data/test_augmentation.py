"""Augmentations against Pillow and OpenCV, and what is drawn for whom."""

import io

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from tests.helpers import jpeg
from trainer_module.augmentation_facts import AUGMENTATIONS
from trainer_module.data.augmentation import NUMBERS, augment
from trainer_module.data.images import decode

N = 24


@pytest.fixture(scope="module")
def pixels():
    noise = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    return np.concatenate([noise, [decode(jpeg(i)).numpy() for i in range(N - 2)]])


def _draws(seed=0):
    return np.random.default_rng(seed).random((N, len(AUGMENTATIONS), NUMBERS), np.float32)


def _augmented(pixels, draws, name):
    return tf.function(lambda some: augment(some, draws, {name: 1.0}))(pixels).numpy()


def _numbers(draws, name):
    return draws[:, AUGMENTATIONS.index(name), 1:].astype(np.float64)


def test_photometric_is_pillow_s(pixels):
    draws = _draws()
    found = _augmented(pixels, draws, "photometric")
    for image, numbers, ours in zip(pixels, _numbers(draws, "photometric"), found, strict=True):
        theirs = Image.fromarray(image)
        kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for kind, number in zip(kinds, numbers, strict=False):
            theirs = kind(theirs).enhance(float(np.float32(0.5) + np.float32(number)))
        np.testing.assert_array_equal(ours, theirs)


def test_jpeg_is_pillow_s(pixels):
    draws = _draws()
    found = _augmented(pixels, draws, "jpeg")
    qualities = (20 + np.floor(_numbers(draws, "jpeg")[:, 0] * 71)).astype(int)
    assert len(set(qualities)) > 10
    assert 20 <= min(qualities)
    assert max(qualities) <= 90
    for image, quality, ours in zip(pixels, qualities, found, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=int(quality))
        np.testing.assert_array_equal(ours, Image.open(file))


def test_a_crop_keeps_a_rectangle_where_it_was(pixels):
    pixels = np.maximum(pixels, 1)  # so that what is black was cut off
    found = _augmented(pixels, _draws(), "crop")
    areas = []
    for image, ours in zip(pixels, found, strict=True):
        inside = (ours > 0).all(axis=-1)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.testing.assert_array_equal(ours[part], image[part])
        assert ours.astype(int).sum() == image[part].astype(int).sum()
        areas.append(inside.mean())
        assert 0.7 < len(rows) / len(columns) < 1.42 or 112 in (len(rows), len(columns))
    assert 0.15 < min(areas) < 0.4
    assert max(areas) > 0.7


def test_a_zoom_is_a_part_resized(pixels):
    draws = _draws()
    found = _augmented(pixels, draws, "zoom")
    for image, numbers, ours in zip(pixels, _numbers(draws, "zoom"), found, strict=True):
        size = round(112 * (0.8 + 0.2 * numbers[0]))
        top, left = (int(number * (112 - size + 1)) for number in numbers[1:3])
        part = image[top : top + size, left : left + size]
        theirs = cv2.resize(part, (112, 112), interpolation=cv2.INTER_LINEAR)
        assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(
    ("down", "up", "kernels"),
    [
        pytest.param(1, 1, (cv2.INTER_LINEAR, cv2.INTER_LINEAR), id="bilinear"),
        pytest.param(2, 1, (cv2.INTER_AREA, cv2.INTER_LINEAR), id="area, bilinear"),
        pytest.param(2, 3, (cv2.INTER_AREA, Image.Resampling.BICUBIC), id="area, bicubic"),
    ],
)
def test_low_resolution_is_resizing_there_and_back(pixels, down, up, kernels):
    draws = _draws()
    place = AUGMENTATIONS.index("low_resolution")
    draws[:, place, 2:4] = (np.array([down, up]) + 0.5) / 4
    found = _augmented(pixels, draws, "low_resolution")
    sides = (112 * (0.2 + 0.8 * _numbers(draws, "low_resolution")[:, 0])).astype(int)
    assert min(sides) < 40 < 100 < max(sides)
    for image, side, ours in zip(pixels, sides, found, strict=True):
        small = cv2.resize(image, (side, side), interpolation=kernels[0])
        if isinstance(kernels[1], Image.Resampling):
            theirs = np.asarray(Image.fromarray(small).resize((112, 112), kernels[1]))
        else:
            theirs = cv2.resize(small, (112, 112), interpolation=kernels[1])
        assert np.abs(ours.astype(int) - theirs).max() <= 2  # each way rounds


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_who_is_augmented_is_drawn_and_what_becomes_of_it_goes_by_its_own_numbers(pixels, name):
    draws = _draws(1)
    found = augment(pixels, draws, {name: 0.3}).numpy()
    chosen = draws[:, AUGMENTATIONS.index(name), 0] < 0.3
    changed = (found != pixels).any(axis=(1, 2, 3))
    assert 2 < chosen.sum() < N
    assert not changed[~chosen].any()
    assert changed[chosen].mean() > 0.7  # a drawn quality or side may leave an image as it is
    order = np.random.default_rng(2).permutation(N)[:7]
    np.testing.assert_array_equal(augment(pixels[order], draws[order], {name: 0.3}), found[order])


def test_nobody_is_augmented_where_nothing_is_asked_for(pixels):
    np.testing.assert_array_equal(augment(pixels, _draws(), {"jpeg": 0.0}), pixels)
    np.testing.assert_array_equal(augment(pixels[:0], _draws()[:0], dict.fromkeys(AUGMENTATIONS, 1.0)), pixels[:0])
