"""Crops of photos for other commands, which don't keep them."""

import csv
import stat

import numpy as np
import pytest

from arcface_common.errors import DataError
from arcface_common.image_pixels import decode
from components.alignment.aligner import aligned, complaint
from components.alignment.crop import crop
from components.alignment.folder import aligned_folder
from components.alignment.template import similarity
from components.datasets.conversion import convert
from components.datasets.pair_list import PairList
from pipeline.evaluation.folders import read_faces
from tests.components.alignment import marks
from tests.components.alignment.marks import MARKS, photo


def test_crops_for_other_commands(photos, tmp_path, capsys):
    with aligned_folder(str(photos), MARKS) as crops:
        found = sorted(str(path.relative_to(crops.folder)) for path in crops.folder.rglob("*.*"))
        assert found == ["Ann/1.jpg", "Ann/2.JPG", "Bo/1.png"]
        assert stat.S_IMODE(crops.folder.parent.stat().st_mode) == 0o700
    assert not crops.folder.exists()
    assert crops.photos == photos
    assert crops.rejected["Ann/3.jpg"] == "expected a photo with a face that counts. Received: no face"
    assert crops.rejected["Bo/2.jpeg"].startswith("expected a whole JPEG or PNG")
    assert len(crops.rejected) == 2
    assert "3 crops of 5 photos" in capsys.readouterr().err
    with pytest.raises(DataError, match=rf"^{photos}/Zoe\.jpg: expected it, among the crops of the photos$"):
        with aligned_folder(str(photos), MARKS) as crops:
            raise DataError(f"{crops.folder}/Zoe.jpg: expected it")
    with pytest.raises(DataError, match=r"expected images in one folder an identity|expected one folder an identity"):
        with aligned_folder(str(photos / "Ann"), MARKS):
            pass


def test_photos_that_give_no_crop_are_images_that_cannot_be_used(photos, tmp_path):
    """One rule, with crops and without: all are named in one error, or left out with their pairs, and listed."""
    message = (
        r"^2 of the images can't be used .--skip-bad leaves them out.: .*/Ann/3.jpg: expected a photo with a face that "
        r"counts. Received: no face; .*/Bo/2.jpeg: expected a whole JPEG"
    )
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("Ann/1.jpg Ann/2.JPG 1\nAnn/1.jpg Bo/1.png 0\nAnn/3.jpg Bo/1.png 0\nAnn/1.jpg Ann/3.jpg 1\n")
    listed = PairList(str(pairs), "mine")
    with aligned_folder(str(photos), MARKS) as crops:
        for given in (None, listed):
            with pytest.raises(DataError, match=message):
                convert(crops, tmp_path / "out", pairs=given)
        report = convert(crops, tmp_path / "out", pairs=listed, skip_bad=True)
        with pytest.raises(DataError, match=message):
            read_faces(crops)
        assert len(read_faces(crops, skip_bad=True).paths) == 3
    assert (report.images, report.identities, report.set.pairs, report.set.lost) == (3, 2, 2, 2)
    with open(tmp_path / "out" / "skipped.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["what", str(photos / "Ann" / "3.jpg"), str(photos / "Bo" / "2.jpeg")]
    assert rows[1][1] == "expected a photo with a face that counts. Received: no face"


def test_without_any_crop_the_first_photo_is_named(tmp_path):
    (tmp_path / "photos" / "Ann").mkdir(parents=True)
    (tmp_path / "photos" / "Ann" / "1.jpg").write_bytes(photo(0))
    with pytest.raises(DataError, match=r"photos/Ann/1.jpg: expected a photo with a face that counts. Received: no"):
        with aligned_folder(str(tmp_path / "photos"), MARKS):
            pass


def test_crops_of_single_photos(photos):
    paths = [photos / "Ann" / "1.jpg", photos / "Bo" / "1.png"]
    expected = [crop(decode(path.read_bytes()), similarity(marks.face((200, 240), 0).points)) for path in paths]
    for entry, pixels in zip(aligned(paths, MARKS), expected, strict=True):
        np.testing.assert_array_equal(entry.pixels, pixels)
    found = list(aligned([*paths, photo(0), b"", photos / "nowhere.jpg"], MARKS))
    assert [entry.row.rejected.partition(":")[0] for entry in found] == ["", "", "no face", "unreadable", "unreadable"]
    assert [entry.row.file for entry in found[2:4]] == ["photo 3", "photo 4"]
    [none] = aligned([photos / "Ann" / "3.jpg"], MARKS)
    assert complaint(none.row).endswith("3.jpg: expected a photo with a face that counts. Received: no face")
