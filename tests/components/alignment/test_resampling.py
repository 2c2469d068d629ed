import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.alignment.resampling import patches, resize_area, sample

RANDOM = np.random.default_rng(1)


def _picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 89), st.integers(0, 89))
def test_area_means_are_those_of_opencv(height, width, less_high, less_wide):
    pixels = _picture(height, width).astype(np.float32)
    new = max(1, height - less_high), max(1, width - less_wide)
    expected = cv2.resize(pixels, new[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(resize_area(pixels, *new), expected, rtol=1e-5, atol=1e-2)


def test_places_between_pixels_are_those_of_opencv():
    pixels = _picture(40, 50)
    y, x = RANDOM.uniform(-3, 43, (64, 64)), RANDOM.uniform(-3, 53, (64, 64))
    # OpenCV may look at places rounded to 1/32 of a pixel, so they are.
    x, y = (np.round(v * 32) / 32 for v in (x, y))
    expected = cv2.remap(pixels.astype(np.float32), x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    np.testing.assert_allclose(sample(pixels, x, y), expected, atol=1e-2)


def _patch(pixels, box, side):
    """One patch, pixel by pixel, from the text of TensorFlow's `crop_and_resize`."""
    height, width, channels = pixels.shape
    x0, y0, x1, y1 = box[0] / width, box[1] / height, box[2] / width, box[3] / height
    out = np.zeros((side, side, channels))
    for i in range(side):
        y = y0 * (height - 1) + i * (y1 - y0) * (height - 1) / (side - 1)
        for j in range(side):
            x = x0 * (width - 1) + j * (x1 - x0) * (width - 1) / (side - 1)
            if not (0 <= y <= height - 1 and 0 <= x <= width - 1):
                continue
            top, left, bottom, right = int(np.floor(y)), int(np.floor(x)), int(np.ceil(y)), int(np.ceil(x))
            one = pixels[top, left] + (pixels[top, right] - pixels[top, left]) * (x - left)
            two = pixels[bottom, left] + (pixels[bottom, right] - pixels[bottom, left]) * (x - left)
            out[i, j] = one + (two - one) * (y - top)
    return out


@pytest.mark.parametrize("count", [0, 5, 300])
def test_patches(count):
    pixels = RANDOM.normal(size=(30, 44, 3)).astype(np.float32)
    corner = RANDOM.uniform(-10, 40, (count, 2))
    boxes = np.concatenate([corner, corner + RANDOM.uniform(1, 30, (count, 2))], axis=1)
    found = patches(pixels, boxes, 12)
    assert found.shape == (count, 12, 12, 3)
    for box, patch in list(zip(boxes, found, strict=True))[:20]:
        np.testing.assert_allclose(patch, _patch(pixels, box, 12), atol=1e-4)
