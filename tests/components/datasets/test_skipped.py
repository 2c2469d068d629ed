"""What can't be read: all of it in one error, or left out and listed."""

import csv
import shutil
from pathlib import Path

import pytest

from arcface_common.errors import DataError
from components.datasets.conversion import convert
from components.datasets.face_files import FaceFiles
from components.datasets.inspection import inspect
from components.datasets.pair_list import PairList
from components.datasets.skipped import MOST_NAMED, Skipped
from components.formats import recordio, verification_bin
from tests.helpers import jpeg


@pytest.fixture
def faces(tmp_path) -> Path:
    """Ann with three images, Bo with two, Cy with one."""
    names = ("Ann/Ann_0001", "Ann/Ann_0002", "Ann/Ann_0003", "Bo/Bo_0001", "Bo/Bo_0002", "Cy/Cy_0001")
    for number, name in enumerate(names):
        path = tmp_path / "faces" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    return tmp_path / "faces"


def _labels(folder: Path) -> list[float]:
    index = recordio.read_index(str(folder / "train.idx"))
    with recordio.RecordReader(folder / "train.rec") as reader:
        layout = recordio.read_layout(reader, index)
        return [reader.read(offset).label for offset in layout.image_offsets]


def _refused(faces: Path, pattern: str, **more) -> str:
    out = faces.parent / "out"
    with pytest.raises(DataError, match=pattern) as caught:
        convert(faces, out, **more)
    assert [x.name for x in faces.parent.iterdir()] == ["faces"]
    return str(caught.value)


def _list(folder: Path, text: str) -> PairList:
    path = folder / "pairs.txt"
    path.write_text(text)
    return PairList(str(path), "lfw")


def _spoil(faces: Path, number: int) -> list[str]:
    """Adds so many images to Bo's that can't be used, of several kinds; their names."""
    kinds = [b"text", jpeg(3)[:900], jpeg(4, size=96)]
    names = [f"bad_{i:03d}.jpg" for i in range(number)]
    for i, name in enumerate(names):
        (faces / "Bo" / name).write_bytes(kinds[i % len(kinds)])
    return names


def test_all_bad_images_are_named_at_once(faces):
    names = _spoil(faces, 5)
    error = _refused(faces, "^5 of the images can't be used .--skip-bad leaves them out.: .*bad_000")
    assert [name for name in names if name in error] == names
    reasons = [reason.split("Received: ")[1] for reason in error.split("; ")]
    assert len(reasons) == len(set(reasons)) < 5  # one reason is said once


def test_beyond_a_number_of_bad_images_reading_ends(faces):
    _spoil(faces, MOST_NAMED + 5)
    message = "^20 images or more can't be used .*, and reading ended with the last of these: .*bad_000.*bad_019"
    assert "bad_020" not in _refused(faces, message)


def test_bad_images_are_left_out_and_listed(faces, tmp_path):
    names = _spoil(faces, MOST_NAMED + 5)
    report = convert(faces, tmp_path / "out", skip_bad=True)
    assert (report.images, report.identities) == (6, 3)
    assert _labels(tmp_path / "out") == [0, 0, 0, 1, 1, 2]
    rows = list(csv.reader((tmp_path / "out" / "skipped.csv").read_text().splitlines()))
    assert rows[0] == ["what", "reason"]
    assert [Path(row[0]).name for row in rows[1:]] == names
    assert rows[3][1].startswith("expected 112x112 pixels")
    lines = report.lines()
    assert lines[1] == "left out, images that can't be used: 25 (skipped.csv)"
    assert lines[2].startswith(f"  {faces}/Bo/bad_000.jpg: expected a JPEG or PNG image. Received: bytes 74 65")
    assert lines[-1] == "  and 5 more"
    assert inspect(tmp_path / "out").problems == []


def test_an_identity_of_bad_images_alone_has_no_label(faces, tmp_path):
    for path in (faces / "Bo").iterdir():
        path.write_bytes(b"text")
    report = convert(faces, tmp_path / "out", skip_bad=True)
    assert _labels(tmp_path / "out") == [0, 0, 0, 1]
    assert (tmp_path / "out" / "identities.txt").read_text() == "0\tAnn\n1\tCy\n"
    assert report.identities == 2
    assert inspect(tmp_path / "out").remarks == ()
    for path in faces.glob("*/*"):
        path.write_bytes(b"text")
    shutil.rmtree(tmp_path / "out")
    _refused(faces, "expected an image that can be used. Received: none; the first of 6: .*Ann/", skip_bad=True)


def test_pairs_of_bad_images_are_left_out_too(faces, tmp_path):
    _spoil(faces, 1)
    pairs = _list(tmp_path, "Ann/Ann_0001.jpg Bo/bad_000.jpg 0\nAnn/Ann_0001.jpg Ann/Ann_0002.jpg 1\n")
    report = convert(faces, tmp_path / "out", skip_bad=True, pairs=pairs)
    assert verification_bin.read(tmp_path / "out" / "lfw.bin").images == [jpeg(0), jpeg(1)]
    assert "warning: 1 more pairs left out, for images that can't be used" in report.lines()
    assert len((tmp_path / "out" / "skipped.csv").read_text().splitlines()) == 2  # the image is named once
    alone = _list(tmp_path, "Ann/Ann_0001.jpg Bo/bad_000.jpg 0\n")
    with pytest.raises(DataError, match="lfw.bin: expected a pair of images that can be used. Received: none"):
        convert(faces, tmp_path / "other", skip_bad=True, pairs=alone)


def test_an_image_that_may_not_be_read_is_bad_too(faces, tmp_path):
    (faces / "Bo" / "Bo_0009.jpg").symlink_to("nothing.jpg")
    (faces / "Bo" / "Bo_0010.jpg").write_bytes(jpeg(1))
    report = convert(faces, tmp_path / "out", skip_bad=True)
    assert report.images == 7  # a link to nothing is no file, and said so
    assert report.left_out == ("left out, no images: 1 (Bo/Bo_0009.jpg)",)
    images = FaceFiles(resize=False, bad=Skipped(tmp_path, "images", allowed=False))
    assert images.read(faces / "Bo" / "gone.jpg") is None
    with pytest.raises(DataError, match="gone.jpg: expected a file that can be read. Received: No such file"):
        images.bad.check()
