import math

import cv2
import numpy as np
import pytest
from PIL import Image

from arcface_common.image_pixels import decode
from components.alignment.crop import crop, place, sharpness
from components.alignment.template import TEMPLATE, similarity
from tests.components.alignment.marks import photo


def _points(scale, angle=0.2, shift=(60.0, 40.0)):
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return TEMPLATE @ turn.T + shift


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.3, 1.9])
def test_a_crop_is_that_of_insightfaces_norm_crop(scale):
    pixels = decode(photo(1, 300, 280, seed=4))
    matrix = similarity(_points(scale))
    expected = cv2.warpAffine(pixels, matrix, (112, 112), borderValue=0.0)
    found = crop(pixels, matrix)
    difference = np.abs(found.astype(int) - expected)
    # OpenCV looks at places rounded to 1/32 of a pixel; across the black border that is up to 8 of 255 levels.
    assert difference.max() <= 9
    assert difference.mean() < 0.3


def test_a_face_much_larger_than_the_crop_is_averaged_not_picked():
    random = np.random.default_rng(0)
    small = np.asarray(Image.fromarray(random.integers(60, 200, (8, 8, 3), np.uint8)).resize((160, 160)))
    large = np.repeat(np.repeat(small, 7, axis=0), 7, axis=1).astype(int)
    noisy = np.clip(large + random.normal(0, 40, large.shape), 0, 255).astype(np.uint8)
    points = _points(1.0, angle=0.1, shift=(20.0, 20.0))
    clean = crop(small, similarity(points)).astype(int)
    found = crop(noisy, similarity((points + 0.5) * 7 - 0.5)).astype(int)
    inside = np.s_[8:-8, 8:-8]
    # Noise of 40 levels, averaged over 7x7 pixels: 5.7; picked from four, 20 and more.
    assert (found - clean)[inside].std() < 8
    assert abs((found - clean)[inside].mean()) < 1


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_what_lies_outside_of_the_photo_is_black_and_counted(scale):
    pixels = np.full((round(112 * scale), round(112 * scale), 3), 200, np.uint8)
    whole = place(TEMPLATE * scale + (scale - 1) / 2, pixels.shape[1], pixels.shape[0])
    assert whole.padding < 0.02
    assert whole.upscale == pytest.approx(1 / scale, rel=1e-6)
    assert (crop(pixels, whole.matrix) == 200).mean() > 0.97
    half = place((TEMPLATE - [56, 0]) * scale, pixels.shape[1], pixels.shape[0])
    assert half.padding == pytest.approx(0.5, abs=0.02)
    found = crop(pixels, half.matrix)
    assert found[:, :54].max() == 0
    assert found[5:-5, 60:].min() == 200
    far = place((TEMPLATE + 1000) * scale, pixels.shape[1], pixels.shape[0])
    assert far.padding == 1
    assert not crop(pixels, far.matrix).any()


def test_sharpness_falls_with_blur():
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    values = [sharpness(cv2.GaussianBlur(pixels, (0, 0), sigma)) for sigma in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert sharpness(np.full((112, 112, 3), 9, np.uint8)) == pytest.approx(0, abs=1e-3)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    assert sharpness(pixels) == pytest.approx(cv2.Laplacian(grey, cv2.CV_32F)[1:-1, 1:-1].var(), rel=0.01)
