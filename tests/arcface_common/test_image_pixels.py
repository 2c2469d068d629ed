"""Pixels outside TensorFlow are OpenCV's, whatever the format; what a header says is known without decoding."""

import io
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from arcface_common.image_header import ImageError, check_end, check_header, may_turn_later, read_header
from arcface_common.image_pixels import decode, to_png, upright
from tests.helpers import ROOT, exif, jpeg, with_exif

RNG = np.random.default_rng(0)
PIXELS = cv2.resize(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), (96, 112), interpolation=cv2.INTER_CUBIC)
PICTURE = Image.fromarray(PIXELS)
TIFF_ORDERS = ("<", ">")


def _saved(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _by_opencv(pixels):
    """A PNG of 16 bits, which Pillow can't write in colour."""
    return cv2.imencode(".png", pixels)[1].tobytes()


def _opencv(encoded):
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


WIDE = PIXELS.astype(np.uint16) * 257 + RNG.integers(0, 200, PIXELS.shape, dtype=np.uint16) * (PIXELS < 255)
RGBA = Image.fromarray(np.dstack([PIXELS, np.tile(np.arange(96, dtype=np.uint8) * 2, (112, 1))]))
FORMATS = {
    "jpeg": _saved(PICTURE, "JPEG", quality=90),
    "jpeg 4:4:4": _saved(PICTURE, "JPEG", quality=90, subsampling=0),
    "progressive": _saved(PICTURE, "JPEG", progressive=True),
    "grey jpeg": _saved(PICTURE.convert("L"), "JPEG"),
    "cmyk jpeg": _saved(PICTURE.convert("CMYK"), "JPEG", quality=95),
    "png": _saved(PICTURE, "PNG"),
    "rgba": _saved(RGBA, "PNG"),
    "grey and alpha": _saved(RGBA.convert("LA"), "PNG"),
    "palette": _saved(PICTURE.quantize(64), "PNG"),
    "palette with a transparent colour": _saved(PICTURE.quantize(64), "PNG", transparency=3),
    "palette of 4 bits": _saved(PICTURE.quantize(16), "PNG", bits=4),
    "grey png": _saved(PICTURE.convert("L"), "PNG"),
    "1 bit": _saved(PICTURE.convert("1"), "PNG"),
    "16 bits, grey": _by_opencv(WIDE[..., 0]),
    "16 bits, colour": _by_opencv(WIDE),
    "16 bits, alpha": _by_opencv(np.dstack([WIDE, WIDE[..., 0]])),
}


@pytest.mark.parametrize("encoded", FORMATS.values(), ids=FORMATS.keys())
def test_pixels_are_opencvs_in_every_format(encoded):
    np.testing.assert_array_equal(decode(encoded), _opencv(encoded))
    assert upright(encoded) is encoded


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", TIFF_ORDERS)
@pytest.mark.parametrize("orientation", range(10))
def test_an_image_is_turned_as_opencv_turns_it(kind, order, orientation):
    encoded = with_exif(_saved(PICTURE, kind), exif(orientation, order))
    expected = _opencv(encoded)
    np.testing.assert_array_equal(decode(encoded), expected)
    turned = upright(encoded)
    assert (turned is encoded) == (orientation not in range(2, 9))
    np.testing.assert_array_equal(_opencv(turned), expected)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_UNCHANGED)[..., 2::-1],
                                  expected)  # fmt: skip


JPEG = FORMATS["jpeg 4:4:4"]
XMP = b"\xff\xe1\x00\x20http://ns.adobe.com/xap/1.0/\0<"
OTHER_EXIF = {
    "behind the size": with_exif(JPEG, exif(6), JPEG.find(b"\xff\xda")),
    "behind the scan": JPEG + b"\xff\xe1\0\x20" + b"Exif\0\0" + exif(6),
    "two": with_exif(with_exif(JPEG, exif(3)), exif(6)),
    "behind XMP": JPEG[:2] + XMP + with_exif(JPEG, exif(6))[2:],
    "a broken one first": with_exif(with_exif(JPEG, exif(6)), b"II"),
    "without an end": with_exif(JPEG, exif(6)[:-8]),
    "a directory beyond the end": with_exif(JPEG, b"II*\0\xff\xff\xff\xff"),
    "an orientation of another type": with_exif(JPEG, exif(6, kind=4)),
    "a PNG's behind its pixels": with_exif(FORMATS["png"], exif(8), -12),
    "a word in a PNG": with_exif(FORMATS["png"], b"eXIf", kind=b"tEXt"),
}


@pytest.mark.parametrize("encoded", OTHER_EXIF.values(), ids=OTHER_EXIF.keys())
def test_an_orientation_counts_where_opencv_finds_it(encoded):
    np.testing.assert_array_equal(decode(encoded), _opencv(encoded))
    header = read_header(encoded)
    assert header.orientation == 1 or may_turn_later(encoded, 2)


def test_a_png_whose_exif_has_a_wrong_checksum_is_not_turned():
    damaged = with_exif(FORMATS["png"], exif(6)).replace(zlib.crc32(b"eXIf" + exif(6)).to_bytes(4, "big"), b"none")
    np.testing.assert_array_equal(_opencv(damaged), PIXELS)
    assert read_header(damaged).orientation == 1


def test_a_scans_marker_in_a_comment_hides_no_orientation():
    scan = JPEG.find(b"\xff\xda")
    encoded = with_exif(JPEG[:scan] + b"\xff\xfe\0\4\xff\xda" + JPEG[scan:], exif(6), scan + 6)
    np.testing.assert_array_equal(decode(encoded), _opencv(encoded))
    assert read_header(encoded).orientation == 6
    assert may_turn_later(encoded, read_header(encoded).end)


def test_images_that_cannot_turn_are_told_apart_without_a_parse():
    for encoded in FORMATS.values():
        assert not may_turn_later(encoded, read_header(encoded).end)


@given(st.binary(max_size=60), st.integers(0, 80))
@settings(deadline=None)
def test_any_exif_is_read_without_an_error(tiff, cut):
    for encoded in (with_exif(JPEG, b"II*\0" + tiff), with_exif(FORMATS["png"], b"MM\0*" + tiff)):
        assert read_header(encoded).orientation in range(1, 9)
        read_header(encoded[:cut])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("width, height", [(112, 112), (1, 300), (640, 480)])
def test_size_from_the_header(width, height, kind):
    encoded = _saved(Image.new("RGB", (width, height)), kind)
    header = read_header(encoded)
    assert (header.width, header.height) == (width, height)
    assert read_header(encoded[: header.end])[:2] == (width, height)
    assert read_header(encoded[: header.end - 1]) is None


def _two_sizes(bare):
    """A JPEG of 96x112; whoever reads a length after a marker that has none jumps to a start of frame of 16x16."""
    frame = JPEG.find(b"\xff\xc0")
    scan = JPEG.find(b"\xff\xda")
    other = b"\xff\xc0\0\x11\x08\0\x10\0\x10" + JPEG[frame + 9 : frame + 19] + b"\xff\xda\0\x0c" + bytes(10)
    head = JPEG[:2] + bare + JPEG[frame : frame + 19] + JPEG[2:frame] + JPEG[frame + 19 : scan]
    first = 2 + len(bare) + 0xFFC0 - 4  # where the comment begins that holds the other frame
    gap = first - len(head) - 4
    return (
        head + b"\xff\xfe" + struct.pack(">H", gap + 2) + bytes(gap)
        + b"\xff\xfe" + struct.pack(">H", len(other) + 2) + other + JPEG[scan:]
    )  # fmt: skip


@pytest.mark.parametrize("bare", [b"\xff\xd0", b"\xff\xd7", b"\xff\x01", b"\xff\xd8", b"\xff\xd9"])
def test_a_jpeg_has_the_size_that_libjpeg_sees(bare):
    encoded = _two_sizes(bare)
    if (pixels := cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)) is None:
        with pytest.raises(ImageError, match=f"a JPEG's marker and length at byte 2. Received: {bare.hex(' ')}"):
            check_header(encoded)
    else:
        assert check_header(encoded)[:2] == pixels.shape[1::-1] == (96, 112)


@pytest.mark.parametrize(
    "inserted, place",
    [
        (b"\xff\0", 2),
        (b"\xff\xfe\0\1", 2),
        (b"\xff\x02\0\2", 2),
        (b"\xff\xf0\0\2", 2),
        (b"abc", JPEG.find(b"\xff\xda")),
    ],
)
def test_a_jpeg_that_is_no_chain_of_segments_is_refused(inserted, place):
    damaged = JPEG[:place] + inserted + JPEG[place:]
    with pytest.raises(ImageError, match=rf"a JPEG's marker and length at byte {place}\. Received: {inserted[0]:x} "):
        check_header(damaged)


def test_a_jpeg_with_two_sizes_is_refused():
    frame = JPEG.find(b"\xff\xc0")
    twice = JPEG[: frame + 19] + JPEG[frame:]
    assert cv2.imdecode(np.frombuffer(twice, np.uint8), cv2.IMREAD_COLOR) is None
    with pytest.raises(ImageError, match=f"one start of frame. Received: another one at byte {frame + 19}"):
        check_header(twice)


def test_a_png_with_a_chunk_before_its_header_is_refused():
    data = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(data)) + b"abCd" + data + struct.pack(">I", zlib.crc32(b"abCd" + data))
    with pytest.raises(ImageError, match="with its size in the header"):
        check_header(FORMATS["png"][:8] + chunk + FORMATS["png"][8:])


MARKERS = st.sampled_from([0x00, 0x01, 0xC0, 0xC2, 0xC4, 0xC8, 0xCC, *range(0xD0, 0xE2), 0xEE, 0xF0, 0xFE, 0xFF])
PIECES = st.one_of(
    st.binary(max_size=4),
    MARKERS.map(lambda marker: bytes((0xFF, marker))),
    st.tuples(MARKERS, st.integers(0, 40), st.binary(max_size=20)).map(
        lambda x: bytes((0xFF, x[0])) + struct.pack(">H", x[1]) + x[2]
    ),
    st.tuples(MARKERS, st.binary(max_size=20)).map(
        lambda x: bytes((0xFF, x[0])) + struct.pack(">H", len(x[1]) + 2) + x[1]
    ),
    st.tuples(st.integers(1, 30), st.integers(1, 30)).map(
        lambda x: b"\xff\xc0\0\x0b\x08%b\1\1\x11\0" % struct.pack(">HH", *x)
    ),
)
BOUNDARIES = [2, *(JPEG.find(bytes((0xFF, marker))) for marker in (0xDB, 0xC0, 0xC4, 0xDA))]


BASES = [JPEG, *(_two_sizes(bytes((0xFF, marker))) for marker in (0x01, 0xD0, 0xD7, 0xD8, 0xD9))]


@given(
    st.sampled_from(BASES),
    st.lists(st.tuples(st.sampled_from(BOUNDARIES), PIECES), max_size=3),
    st.lists(st.tuples(st.integers(2, JPEG.find(b"\xff\xda")), st.integers(0, 255)), max_size=2),
)
@settings(deadline=None, max_examples=400)
def test_whatever_a_header_says_is_decoded_or_refused(encoded, inserted, changed):
    for place, piece in sorted(inserted, key=lambda x: -x[0]):
        encoded = encoded[:place] + piece + encoded[place:]
    for place, value in changed:
        encoded = encoded[:place] + bytes((value,)) + encoded[place + 1 :]
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    try:
        header = check_header(encoded)
    except ImageError:
        return
    sides = (header.height, header.width) if header.orientation < 5 else (header.width, header.height)
    assert pixels is None or pixels.shape[:2] == sides


@pytest.mark.parametrize(
    "encoded, message",
    [
        (b"GIF89a", "expected a JPEG or PNG image. Received: bytes 47 49"),
        (b"", "expected a JPEG or PNG image. Received: bytes none"),
        (b"\xff\xd8\xff\xe0\0\2", "with its size in the header. Received: no start of frame"),
        (jpeg(0)[:900], "expected a whole JPEG or PNG. Received: "),
        (FORMATS["png"][:500], "expected a whole JPEG or PNG. Received: "),
        (FORMATS["png"][:16] + bytes(8) + FORMATS["png"][24:], "an image of 1 to .* pixels. Received: 0x0"),
    ],
)
def test_what_is_no_whole_image_is_said(encoded, message):
    with pytest.raises(ImageError, match=message):
        decode(encoded)


def test_the_end_of_a_whole_image():
    for encoded in (jpeg(0), FORMATS["png"], jpeg(0) + bytes(4000)):
        check_end(encoded)
        with pytest.raises(ImageError, match=r"expected a whole image. Received: \d+ bytes without an end marker"):
            check_end(encoded[: len(encoded) * 2 // 3][: len(jpeg(0)) - 20])


def _png_bomb(side):
    """A grey PNG of that many pixels squared, 1 byte for each 1,000 of them."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_of_too_many_pixels_takes_no_memory(tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(_png_bomb(13_000))
    code = (
        "import sys; from benchmarks import memory; from arcface_common.image_pixels import decode, ImageError\n"
        "data = open(sys.argv[1], 'rb').read(); before = memory.peak()\n"
        "try: decode(data)\n"
        "except ImageError as error: print(error)\n"
        "print(memory.peak() - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, bomb], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.splitlines()
    assert result[0] == "expected an image of 1 to 16,777,216 pixels. Received: 13000x13000"
    assert int(result[1]) < 20_000_000  # its pixels are 169 MB


def test_the_limit_is_a_setting():
    assert check_header(jpeg(0), 112 * 112).width == 112
    with pytest.raises(ImageError, match=r"1 to 100 pixels \(ingest.max_image_pixels\). Received: 112x112"):
        check_header(jpeg(0), 100, "ingest.max_image_pixels")


def test_a_png_loses_nothing():
    np.testing.assert_array_equal(decode(to_png(PIXELS)), PIXELS)
