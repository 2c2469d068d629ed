"""Sets with images of other sizes: OpenCV's bicubic pixels, and a clear error for what InsightFace refuses, too."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from components.image_header import image_size
from components.verification_bin import VerificationSet, VerificationSetError
from components.verification_resize import fit_images, resize_cubic
from tests.helpers import jpeg


@pytest.mark.parametrize("size", [20, 96, 111, 113, 128, 160, 250])
def test_pixels_are_opencvs(size):
    rng = np.random.default_rng(size)
    noise = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    expected = cv2.resize(noise, (112, 112), interpolation=cv2.INTER_CUBIC)
    difference = np.abs(resize_cubic(noise).astype(int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.02


def test_images_that_fit_stay_and_others_are_resized_once():
    small = jpeg(1, size=96)
    pairs = VerificationSet([jpeg(0), small, small, jpeg(2)], np.array([True, False]))
    fitted, count = fit_images(pairs, "lfw.bin")
    assert count == 1
    assert (fitted.images[0], fitted.images[3]) == (jpeg(0), jpeg(2))
    assert fitted.images[1] is fitted.images[2]
    pixels = np.asarray(Image.open(io.BytesIO(fitted.images[1])))
    np.testing.assert_array_equal(pixels, resize_cubic(np.asarray(Image.open(io.BytesIO(small)))))
    unchanged = VerificationSet([jpeg(0), jpeg(2)], np.array([True]))
    assert fit_images(unchanged, "lfw.bin") == (unchanged, 0)


def _encoded(width, height, kind):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "image, received",
    [
        (_encoded(96, 112, "JPEG"), "square image. Received: 96x112"),
        (jpeg(1, size=96)[:300], "image that decodes. Received: "),
        (b"\xff\xd8\xff\xe0" + bytes(20), "square image. Received: no size in its header"),
    ],
)
def test_an_image_that_cannot_be_fitted_is_named(image, received):
    pairs = VerificationSet([jpeg(0), jpeg(0), jpeg(0), image], np.array([True, True]))
    with pytest.raises(VerificationSetError, match=rf"lfw.bin: pair 1, second image: expected an? {received}"):
        fit_images(pairs, "lfw.bin")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("width, height", [(112, 112), (1, 300), (640, 480)])
def test_size_from_the_header(width, height, kind):
    encoded = _encoded(width, height, kind)
    size = image_size(encoded)
    assert size is not None
    assert (size.width, size.height) == (width, height)
    assert image_size(encoded[: size.end]) is not None
    assert image_size(encoded[: size.end - 1]) is None
