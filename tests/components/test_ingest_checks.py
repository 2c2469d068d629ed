"""Each image is judged by its own header, however many before it began alike."""

import io

import pytest
from PIL import Image

from components.record_example_gen.checks import RecordCheck
from tests.helpers import exif, jpeg, with_exif


def _optimized(seed):
    """A JPEG whose tables are its own, as those of photographs often are: it begins as others do, up to its size."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg(seed))).save(buffer, "JPEG", quality=90, optimize=True)
    return buffer.getvalue()


def _png(seed):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg(seed))).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("encode", [jpeg, _optimized, _png])
def test_an_image_that_begins_like_the_one_before_can_yet_be_turned_or_cut(encode):
    check = RecordCheck(any_size=False)

    def orientation(image):
        assert check(0.0, image) is None
        return check.orientation

    upright, other = encode(1), encode(2)
    scan = other.find(b"\xff\xda") if encode is not _png else len(other) - 12
    assert [orientation(image) for image in (upright, other, upright)] == [1, 1, 1]
    assert orientation(with_exif(other, exif(6), scan)) == 6  # behind the size
    assert orientation(upright) == 1
    assert orientation(with_exif(other, exif(3))) == 3
    assert orientation(other) == 1
    assert "without an end marker" in check(0.0, upright[: len(upright) * 2 // 3])
    assert orientation(upright) == 1


def test_a_jpeg_without_a_scan_lends_its_header_to_no_other():
    check = RecordCheck(any_size=False)
    whole = jpeg(1)
    assert check(0.0, whole[: whole.find(b"\xff\xda")] + b"\xff\xd9") is None
    assert check(0.0, with_exif(whole, exif(6), whole.find(b"\xff\xc4"))) is None
    assert check.orientation == 6


def test_the_size_is_judged_again_when_the_header_changes():
    check = RecordCheck(any_size=False)
    assert check(0.0, jpeg(1)) is None
    assert check(0.0, jpeg(1, size=96)) == (
        "expected an image of 112x112 pixels (or ingest.any_size=true). Received: 96x96"
    )
    assert RecordCheck(any_size=True)(0.0, jpeg(1, size=96)) is None
