"""One decoder: the pixels are OpenCV's, and the network's input is what the pixel format says."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from arcface_common.features import PixelFormat
from benchmarks import memory
from trainer_module.data import images


def picture(height: int = 112, width: int = 112, seed: int = 0) -> Image.Image:
    """Smooth colours with noise and hard edges: all frequencies of a JPEG block occur."""
    random = np.random.default_rng(seed)
    field = random.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    smooth[height // 3 : height // 2, width // 4 : width // 2] = (255, 0, 0)
    noisy = smooth + random.normal(0, 12, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opencv(data: bytes) -> np.ndarray:
    """RGB, uint8 [H, W, 3]."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [5, 50, 90, 100])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg_equals_opencv(subsampling, quality, progressive):
    data = encode(picture(), "JPEG", subsampling=subsampling, quality=quality, progressive=progressive)
    np.testing.assert_array_equal(images.decode(tf.constant(data)), opencv(data))


@pytest.mark.parametrize("size", [(112, 112), (97, 131), (16, 8), (1, 1)])
def test_odd_sizes_equal_opencv(size):
    data = encode(picture(*size), "JPEG", subsampling="4:2:0", quality=85)
    np.testing.assert_array_equal(images.decode(tf.constant(data)), opencv(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_becomes_three_equal_channels(kind):
    data = encode(picture().convert("L"), kind)
    decoded = images.decode(tf.constant(data)).numpy()
    assert decoded.shape == (112, 112, 3)
    np.testing.assert_array_equal(decoded, opencv(data))


def test_png_equals_opencv_and_the_original():
    image = picture()
    data = encode(image, "PNG")
    decoded = images.decode(tf.constant(data)).numpy()
    np.testing.assert_array_equal(decoded, opencv(data))
    np.testing.assert_array_equal(decoded, np.asarray(image))


def test_the_default_decoder_would_differ():
    """Why INTEGER_ACCURATE: without it this test of equality would be without teeth."""
    data = encode(picture(), "JPEG", quality=90, subsampling="4:2:0")
    other = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_FAST").numpy().astype(int)
    assert abs(other - opencv(data).astype(int)).max() > 1


def test_another_size_is_resized():
    data = encode(picture(224, 224), "PNG")
    face = images.decode_face(tf.constant(data)).numpy()
    # Half-pixel centres: at a factor of exactly 2 each pixel is the mean of four.
    expected = opencv(data).reshape(112, 2, 112, 2, 3).astype(float).mean((1, 3))
    assert face.shape == (112, 112, 3) and face.dtype == np.uint8
    np.testing.assert_allclose(face, expected, atol=0.5)


def test_a_batch_equals_its_images():
    batch = [encode(picture(seed=1), "JPEG"), encode(picture(60, 60, seed=2), "JPEG"), encode(picture(seed=3), "PNG")]
    decoded = tf.function(images.decode_faces)(tf.constant(batch))
    assert decoded.shape == (3, 112, 112, 3)
    for one, data in zip(decoded, batch, strict=True):
        np.testing.assert_array_equal(one, images.decode_face(tf.constant(data)))


def test_no_image_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="Invalid JPEG data, size 8"):
        images.decode(tf.constant(b"no image"))


@pytest.mark.parametrize(
    ("pixel_format", "expected"),
    [
        (PixelFormat(), [(0 - 127.5) / 128, (51 - 127.5) / 128, (255 - 127.5) / 128]),
        (PixelFormat("bgr"), [(255 - 127.5) / 128, (51 - 127.5) / 128, (0 - 127.5) / 128]),
        (PixelFormat("rgb", 127.5, 127.5), [-1.0, -0.6, 1.0]),
        (PixelFormat("rgb", 0, 1), [0.0, 51.0, 255.0]),
    ],
)
def test_to_input(pixel_format, expected):
    pixels = tf.constant([[[[0, 51, 255]]]], tf.uint8)
    result = images.to_input(pixels, pixel_format)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result[0, 0, 0], expected, rtol=1e-6)


def test_pixel_format_survives_json_and_refuses_nonsense():
    pixel_format = PixelFormat("bgr", 0.5, 2.0)
    assert PixelFormat.from_dict(pixel_format.to_dict()) == pixel_format
    with pytest.raises(ValueError, match="Received: colour='grey'"):
        PixelFormat("grey")
    with pytest.raises(ValueError, match="Received: scale=0"):
        PixelFormat(scale=0)


def _peak_growth(call) -> float:
    """By how many MB the process's peak memory rises above what it holds now, while `call` runs."""
    before = memory.resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    call()
    return (memory.peak() - before) / 2**20


def _bomb(kind: str) -> bytes:
    return encode(Image.new("1" if kind == "PNG" else "L", (13_000, 13_000)), kind)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_header_of_too_many_pixels_is_refused_before_memory_is_taken(kind):
    """13,000 x 13,000 pixels, 507 MB decoded."""
    graph = tf.function(images.decode_faces, input_signature=[tf.TensorSpec([None], tf.string)])
    graph(tf.constant([encode(picture(), kind)]))
    bomb = tf.constant([_bomb(kind)])

    def call() -> None:
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"1 to 16777216 pixels.*Received.*\[13000 13000\]"):
            graph(bomb)

    assert _peak_growth(call) < 50
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"1 to 16777216 pixels.*Received.*\[13000 13000\]"):
        images.decode(bomb[0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_limit_itself_is_decoded(kind):
    data = tf.constant(encode(picture(20, 30), kind))
    assert images.decode(data, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"1 to 599 pixels.*Received.*\[20 30\]"):
        images.decode(data, max_pixels=599)


def _png_of(width: int, height: int) -> bytes:
    """A PNG that says it has this size, with a valid checksum."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = encode(picture(), "PNG")
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


_JPEG, _PNG = encode(picture(), "JPEG"), encode(picture(), "PNG")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no image", id="text"),
        pytest.param(_PNG[:8], id="PNG signature"),
        pytest.param(_PNG[:20], id="PNG cut in its size"),
        pytest.param(_PNG[:200], id="PNG cut"),
        pytest.param(_PNG[:8] + _PNG[33:], id="PNG without header"),
        pytest.param(_png_of(0, 112), id="PNG of no width"),
        pytest.param(_png_of(2**32 - 1, 2**32 - 1), id="PNG of 2^64 pixels"),
        pytest.param(_png_of(2**31, 2**31), id="PNG of 2^62 pixels"),
        pytest.param(_png_of(112, 113), id="PNG with a row too few"),
        pytest.param(_JPEG[:2], id="JPEG marker"),
        pytest.param(_JPEG[:100], id="JPEG cut in its tables"),
        pytest.param(_JPEG[:1000], id="JPEG cut"),
        pytest.param(_JPEG.replace(b"\0\x70\0\x70", bytes(4), 1), id="JPEG of no size"),
        pytest.param(encode(picture().quantize(), "GIF"), id="GIF"),
        pytest.param(encode(picture(), "BMP"), id="BMP"),
    ],
)
def test_what_is_no_whole_jpeg_or_png_is_an_error(data):
    for decode in (images.decode, tf.function(images.decode)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(tf.constant(data))


def test_sizes_come_from_headers():
    for kind in ("JPEG", "PNG"):
        data = encode(picture(97, 131), kind)
        assert images.image_size(tf.constant(data)).numpy().tolist() == [97, 131]
        assert images.image_size(tf.constant(data[:700])).numpy().tolist() == [97, 131]
