"""Sets with images of other sizes: OpenCV's bicubic pixels, and a clear error for what InsightFace refuses, too."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from arcface_common.image_pixels import decode
from components.formats.verification_bin import VerificationSet, VerificationSetError
from components.formats.verification_resize import fit_images, resize_cubic
from tests.helpers import exif, jpeg, with_exif


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
    fitted, resized, turned = fit_images(pairs, "lfw.bin")
    assert (resized, turned) == (1, 0)
    assert (fitted.images[0], fitted.images[3]) == (jpeg(0), jpeg(2))
    assert fitted.images[1] is fitted.images[2]
    pixels = np.asarray(Image.open(io.BytesIO(fitted.images[1])))
    np.testing.assert_array_equal(pixels, resize_cubic(np.asarray(Image.open(io.BytesIO(small)))))
    unchanged = VerificationSet([jpeg(0), jpeg(2)], np.array([True]))
    assert fit_images(unchanged, "lfw.bin") == (unchanged, 0, 0)


def _encoded(width, height, kind):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, kind)
    return buffer.getvalue()


WHOLE = _encoded(96, 96, "PNG")
DAMAGED = WHOLE.replace(WHOLE[WHOLE.index(b"IDAT") + 4 :][:8], bytes(8))


@pytest.mark.parametrize(
    "image, received",
    [
        (_encoded(96, 112, "JPEG"), "square image. Received: 96x112"),
        (jpeg(1)[:900], "whole image. Received: 900 bytes without an end marker"),
        (jpeg(1, size=96)[:900], "whole image. Received: 900 bytes without an end marker"),
        (DAMAGED, "whole JPEG or PNG. Received: "),
        (b"\xff\xd8\xff\xe0\0\2", "JPEG or PNG with its size in the header. Received: no start of frame"),
    ],
)
def test_an_image_that_cannot_be_fitted_is_named(image, received):
    pairs = VerificationSet([jpeg(0), jpeg(0), jpeg(0), image], np.array([True, True]))
    with pytest.raises(VerificationSetError, match=rf"lfw.bin: pair 1, second image: expected an? {received}"):
        fit_images(pairs, "lfw.bin")


@pytest.mark.parametrize("size", [112, 96])
def test_images_are_turned_as_opencv_turns_them(size):
    lying = with_exif(jpeg(1, size=size), exif(8))
    pairs = VerificationSet([jpeg(0), lying, lying, jpeg(2)], np.array([True, False]))
    fitted, resized, turned = fit_images(pairs, "lfw.bin")
    assert (resized, turned) == (size != 112, 1)
    assert (fitted.images[0], fitted.images[3]) == (jpeg(0), jpeg(2))
    expected = cv2.imdecode(np.frombuffer(lying, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(decode(fitted.images[1]), expected if size == 112 else resize_cubic(expected))


def test_16_bits_grey_are_the_high_byte():
    wide = np.linspace(0, 65535, 96 * 96).astype(np.uint16).reshape(96, 96)
    encoded = cv2.imencode(".png", wide)[1].tobytes()
    grey = fit_images(VerificationSet([encoded, jpeg(0)], np.array([True])), "lfw.bin").pairs.images[0]
    expected = resize_cubic(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
    np.testing.assert_array_equal(decode(grey), expected)


def test_the_limit_of_pixels_names_the_pair_and_the_setting():
    pairs = VerificationSet([jpeg(0), jpeg(0), jpeg(1, size=128), jpeg(0)], np.array([True, True]))
    message = r"lfw.bin: pair 1, first image: .* 1 to 12,544 pixels \(ingest.max_image_pixels\). Received: 128x128"
    with pytest.raises(VerificationSetError, match=message):
        fit_images(pairs, "lfw.bin", max_pixels=112 * 112)
