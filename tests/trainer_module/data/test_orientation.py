"""EXIF orientation in the graph: the pixels that OpenCV gives, whatever the file says and however it says it."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from trainer_module.data import images

_PICTURE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
_XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"


def _encoded(kind):
    buffer = io.BytesIO()
    Image.fromarray(_PICTURE).save(buffer, kind)
    return buffer.getvalue()


_JPEG, _PNG = _encoded("JPEG"), _encoded("PNG")
_SCAN, _PNG_HEADER_END, _PNG_END = _JPEG.index(b"\xff\xda"), 33, len(_PNG) - 12


def _tiff(*entries, order="<", directory=8):
    """A TIFF block with (tag, value) in its first directory."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", directory)
    table = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    return head.ljust(directory, b"\0") + struct.pack(f"{order}H", len(entries)) + table + bytes(4)


def _turn(value, order="<"):
    return _tiff((0x0112, value), order=order)


def _app1(content):
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def _jpeg(*segments, at=2):
    return _JPEG[:at] + b"".join(segments) + _JPEG[at:]


def _exif(tiff):
    return _app1(b"Exif\0\0" + tiff)


def _png(content, at=_PNG_HEADER_END, name=b"eXIf"):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return _PNG[:at] + struct.pack(">I", len(content)) + name + content + checksum + _PNG[at:]


_FILES = {
    **{f"JPEG {value} {order}": _jpeg(_exif(_turn(value, order))) for value in range(10) for order in "<>"},
    **{f"PNG {value} {order}": _png(_turn(value, order)) for value in range(10) for order in "<>"},
    "no EXIF": _JPEG,
    "PNG without EXIF": _PNG,
    "after the pixels of a PNG": _png(_turn(6), at=_PNG_END),
    "a JPEG's name in a PNG": _png(b"Exif\0\0" + _turn(6)),
    "XMP before": _jpeg(_app1(_XMP), _exif(_turn(6))),
    "XMP after": _jpeg(_exif(_turn(6)), _app1(_XMP)),
    "two": _jpeg(_exif(_turn(6)), _exif(_turn(3))),
    "upright, then another": _jpeg(_exif(_turn(1)), _exif(_turn(3))),
    "invalid, then another": _jpeg(_exif(_turn(9)), _exif(_turn(3))),
    "no tag, then another": _jpeg(_exif(_tiff((0x0100, 6))), _exif(_turn(3))),
    "after the tables": _jpeg(_exif(_turn(6)), at=_SCAN),
    "fill bytes": _jpeg(b"\xff\xff", _exif(_turn(8))),
    "markers without a length": _jpeg(b"\xff\xd0\xff\x01\xff\xd7", _exif(_turn(8))),
    "a comment of length 1": _jpeg(b"\xff\xfe\0\1", _exif(_turn(8))),
    "in a comment": _jpeg(b"\xff\xfe", _exif(_turn(6))[2:]),
    "among other tags": _jpeg(_exif(_tiff((0x0100, 3), (0x010F, 8), (0x0112, 5), (0x0112, 2)))),
    "a directory far off": _jpeg(_exif(_tiff((0x0112, 7), directory=99))),
    "an odd directory": _jpeg(_exif(_tiff((0x0112, 7), order=">", directory=9))),
    "thousands of tags": _jpeg(_exif(_tiff(*[(0x1000, 3)] * 4000, (0x0112, 6)))),
    "no TIFF": _jpeg(_exif(b"IM*\0" + _turn(6)[4:])),
    "a directory beyond the end": _jpeg(_exif(_turn(6)[:4] + b"\xff\xff\xff\xff" + _turn(6)[8:])),
    "more entries than there are": _jpeg(_exif(_turn(6)[:8] + b"\xff\xff" + _turn(6)[10:])),
    "an empty block": _jpeg(_exif(b"")),
}


def _opencv(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


@pytest.fixture(scope="module")
def decode():
    return tf.function(images.decode, input_signature=[tf.TensorSpec([], tf.string)])


@pytest.mark.parametrize("name", _FILES)
def test_pixels_are_those_of_opencv(decode, name):
    np.testing.assert_array_equal(decode(tf.constant(_FILES[name])), _opencv(_FILES[name]))


def test_all_eight_cases_occur():
    """Without eight different pictures the comparison with OpenCV would have no teeth."""
    assert len({_opencv(_FILES[f"JPEG {value} <"]).tobytes() for value in range(1, 9)}) == 8


def test_a_batch_is_turned_image_by_image():
    batch = [_FILES[name] for name in ("JPEG 6 <", "no EXIF", "PNG 3 >", "PNG without EXIF")]
    decoded = tf.function(images.decode_faces)(tf.constant(batch))
    for face, data in zip(decoded, batch, strict=True):
        np.testing.assert_array_equal(face, images.fit(tf.constant(_opencv(data)), 112))


@pytest.mark.parametrize("data", [_jpeg(_exif(_turn(6))), _png(_turn(6))], ids=["JPEG", "PNG"])
def test_broken_files_are_errors_or_images_and_never_more(decode, data):
    """Bytes changed at random, and ends cut off: the walk goes by lengths that a stranger wrote."""
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        broken = bytearray(data[: random.integers(1, len(data) + 1)] if random.random() < 0.3 else data)
        for place in random.integers(0, min(len(broken), 120), 4):
            broken[place] = random.integers(256)
        try:
            decode(tf.constant(bytes(broken)))
        except tf.errors.InvalidArgumentError:
            refused += 1
    assert 0 < refused < 300
