import csv
import dataclasses
import io
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcface_common.errors import DataError
from arcface_common.image_pixels import decode
from arcface_common.lasting_pool import ProcessLostError
from components.alignment import folder
from components.alignment.crop import crop
from components.alignment.faces_csv import COLUMNS
from components.alignment.folder import align_folder
from components.alignment.processes import run_in_processes
from components.alignment.settings import AlignSettings
from components.alignment.template import similarity
from tests.components.alignment import marks
from tests.components.alignment.marks import MARKS, photo
from tests.helpers import ROOT, exif, with_exif


def _align(photos, out, settings=MARKS, processes=1):
    def run(job, batches, done):
        run_in_processes(job, batches, done, processes)

    return align_folder(str(photos), str(out), settings, run)


def _rows(out: Path) -> dict[str, dict[str, str]]:
    with open(out / "faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    return {row["file"]: row for row in rows}


def _files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_a_folder_of_one_folder_an_identity(photos, tmp_path):
    out = tmp_path / "crops"
    report = _align(photos, out)
    assert sorted(_files(out)) == ["Ann/1.jpg", "Ann/2.JPG", "Bo/1.png", "faces.csv", "rejected.html"]
    assert report.lines() == [
        "3 crops of 5 photos",
        "rejected: 2 (no face 1, unreadable 1)",
        "one of several faces chosen: 1",
        "faces enlarged: 3 (column upscale)",
        "left out, no images: 4 (Bo/.DS_Store, Bo/notes.txt, Empty/Thumbs.db, Empty/)",
    ]
    rows = _rows(out)
    assert list(rows) == ["Ann/1.jpg", "Ann/2.JPG", "Ann/3.jpg", "Bo/1.png", "Bo/2.jpeg"]
    assert rows["Ann/3.jpg"]["rejected"] == "no face"
    assert rows["Bo/2.jpeg"]["rejected"].startswith("unreadable: expected a whole JPEG or PNG")
    expected = marks.face((200, 240), 0)
    ann = rows["Ann/1.jpg"]
    np.testing.assert_allclose([float(ann[x]) for x in COLUMNS[1:5]], expected.box, atol=0.01)
    np.testing.assert_allclose([float(ann[x]) for x in COLUMNS[6:16]], expected.points.ravel(), atol=0.01)
    assert (ann["size"], ann["faces"], ann["rejected"]) == ("100", "1", "")
    assert float(ann["upscale"]) == pytest.approx(1.12)
    assert rows["Bo/1.png"]["faces"] == "2"
    # The PNG loses nothing; a JPEG is the crop at quality 95.
    pixels = crop(decode(photo(2, seed=4, kind="PNG")), similarity(expected.points))
    np.testing.assert_array_equal(np.asarray(Image.open(out / "Bo" / "1.png")), pixels)
    buffer = io.BytesIO()
    Image.fromarray(crop(decode(photo(1)), similarity(expected.points))).save(buffer, "JPEG", quality=95)
    assert (out / "Ann" / "1.jpg").read_bytes() == buffer.getvalue()
    assert not list(tmp_path.glob(".*")), "nothing is left beside"


def test_a_folder_of_photos_alone(photos, tmp_path):
    report = _align(photos / "Ann", tmp_path / "crops")
    assert (report.photos, report.crops) == (3, 2)
    assert list(_rows(tmp_path / "crops")) == ["1.jpg", "2.JPG", "3.jpg"]
    (photos / "stray.jpg").write_bytes(photo(1))
    with pytest.raises(DataError, match=r"stray\.jpg: expected images in one folder an identity"):
        _align(photos, tmp_path / "other")


def test_the_page_of_what_was_rejected(photos, tmp_path):
    (photos / "Ann" / "<b>&.jpg").write_bytes(photo(0))
    _align(photos, tmp_path / "crops")
    page = tmp_path / "crops" / "rejected.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    text = page.read_text()
    assert "<h2>no face: 2</h2>" in text
    assert "Ann/&lt;b&gt;&amp;.jpg" in text
    assert text.count("data:image/jpeg;base64,") == 2
    assert "://" not in text
    _align(photos / "Bo", tmp_path / "bo", AlignSettings(detector=MARKS.detector, min_face=150))
    assert "small face: 100 pixels, min-face is 150" in (tmp_path / "bo" / "rejected.html").read_text()


def test_no_page_where_nothing_was_rejected(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(photo(1))
    _align(tmp_path / "a", tmp_path / "crops")
    assert sorted(_files(tmp_path / "crops")) == ["1.jpg", "faces.csv"]


def test_the_same_from_any_number_of_processes(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_BATCH", 2)
    for processes in (1, 2, 5):
        _align(photos, tmp_path / str(processes), processes=processes)
    assert _files(tmp_path / "1") == _files(tmp_path / "2") == _files(tmp_path / "5")


def test_a_photo_on_its_side_is_turned(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(with_exif(photo(1, 240, 200), exif(3)))
    # Upside down, the mark is in another corner: the detector sees what a person would.
    report = _align(tmp_path / "a", tmp_path / "crops")
    assert report.rejected == {"no face": 1}


def test_a_large_photo_is_reduced_for_the_detector_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(photo(1, 1600, 1200))
    report = _align(tmp_path / "a", tmp_path / "crops", AlignSettings(detector=MARKS.detector, max_side=400))
    assert report.crops == 1
    row = _rows(tmp_path / "crops")["1.jpg"]
    box = [float(row[name]) for name in COLUMNS[1:5]]
    # The detector saw 400x300: its box of 125 .. 275 by 75 .. 225, four times as large.
    np.testing.assert_allclose(box, [501.5, 301.5, 1101.5, 901.5], atol=0.01)
    assert float(row["upscale"]) == pytest.approx(112 / 600, rel=1e-3)


@pytest.mark.parametrize("settings", [{"max_pixels": 1000}])
def test_too_many_pixels(photos, tmp_path, settings):
    report = _align(photos, tmp_path / "crops", AlignSettings(detector=MARKS.detector, **settings))
    assert report.rejected == {"unreadable": 5}
    row = _rows(tmp_path / "crops")["Ann/1.jpg"]
    assert row["rejected"] == "unreadable: expected an image of 1 to 1,000 pixels (max-pixels). Received: 240x200"


def test_a_file_that_cannot_be_read_and_names_that_are_no_text(tmp_path):
    (tmp_path / "a").mkdir()
    name = os.fsdecode(b"\xff=1,\n.jpg")
    (tmp_path / "a" / name).write_bytes(photo(1))
    (tmp_path / "a" / "gone.jpg").write_bytes(b"")
    report = _align(tmp_path / "a", tmp_path / "crops")
    assert report.rejected == {"unreadable": 1}
    assert (tmp_path / "crops" / name).exists()
    with open(tmp_path / "crops" / "faces.csv", newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["gone.jpg", "\\xff=1,\n.jpg"]


def test_refused(photos, tmp_path):
    (tmp_path / "there").mkdir()
    for out, expected in (("there", "expected a folder that doesn't exist yet"), ("photos/x", "outside of")):
        with pytest.raises(DataError, match=f"{expected}.* Received: "):
            _align(photos, tmp_path / out)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="expected one folder an identity with JPEG or PNG files. Received: "):
        _align(tmp_path / "none", tmp_path / "crops")
    (tmp_path / ".mine.partial").mkdir()
    (tmp_path / ".mine.partial" / "diary.txt").write_text("dear")
    with pytest.raises(DataError, match="expected a folder of an unfinished align, or none"):
        _align(photos, tmp_path / "mine")
    assert (tmp_path / ".mine.partial" / "diary.txt").exists()
    bad = AlignSettings(detector="tests.components.alignment.marks:load_liar")
    for processes in (1, 2):
        with pytest.raises(DataError, match=r"marks:load_liar': expected faces of a box"):
            _align(photos, tmp_path / "crops", bad, processes)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.partial", "none", "photos", "there"]


def test_a_second_try_goes_on_and_redoes_nothing(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_BATCH", 2)
    out = tmp_path / "crops"

    def until_the_second(job, batches, done):
        run_in_processes(job, batches[:2], done, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align_folder(str(photos), str(out), MARKS, until_the_second)
    assert not out.exists()
    first = tmp_path / ".crops.partial" / "Ann" / "1.jpg"
    written = first.stat().st_mtime_ns
    report = _align(photos, out)
    assert report.resumed == 4
    assert (out / "Ann" / "1.jpg").stat().st_mtime_ns == written
    _align(photos, tmp_path / "again")
    assert _files(out) == _files(tmp_path / "again")


@pytest.mark.parametrize("change", ["settings", "photo"])
def test_a_second_try_of_something_else_begins_anew(photos, tmp_path, monkeypatch, capsys, change):
    monkeypatch.setattr(folder, "_BATCH", 2)
    out = tmp_path / "crops"

    def the_first(job, batches, done):
        run_in_processes(job, batches[:1], done, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align_folder(str(photos), str(out), MARKS, the_first)
    settings = MARKS
    if change == "settings":
        settings = AlignSettings(detector=MARKS.detector, min_face=150)
    else:
        (photos / "Ann" / "1.jpg").write_bytes(photo(0))
    report = _align(photos, out, settings)
    assert "begun with other photos or settings" in capsys.readouterr().err
    assert report.resumed == 0
    assert not (out / "Ann" / "1.jpg").exists()


def test_killed_at_any_moment_and_started_again(photos, tmp_path):
    for number in range(60):
        (photos / "Ann" / f"more{number:02d}.jpg").write_bytes(photo(1, seed=number))
    code = (
        "import sys\n"
        "from components.alignment import folder\n"
        "from components.alignment.settings import AlignSettings\n"
        "folder._BATCH = 4\n"
        f"folder.align_folder({str(photos)!r}, sys.argv[1], AlignSettings(detector={MARKS.detector!r}))\n"
    )
    command = [sys.executable, "-c", code]
    out = tmp_path / "crops"
    process = subprocess.Popen([*command, str(out)], cwd=ROOT)
    parts = tmp_path / ".crops.partial" / ".align" / "parts"
    until = time.monotonic() + 30
    while not (parts.is_dir() and len(os.listdir(parts)) >= 2) and time.monotonic() < until:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not out.exists()
    done = len(os.listdir(parts))
    assert 2 <= done < 17
    subprocess.run([*command, str(out)], cwd=ROOT, check=True)
    subprocess.run([*command, str(tmp_path / "again")], cwd=ROOT, check=True)
    assert _files(out) == _files(tmp_path / "again")


def test_a_process_that_is_killed_is_said_and_costs_little(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_BATCH", 2)
    out = tmp_path / "crops"

    def killed(job, batches, done):
        run_in_processes(job, batches[:1], done, 1)
        killer = AlignSettings(detector="tests.components.alignment.marks:load_killer")
        run_in_processes(dataclasses.replace(job, settings=killer), batches[1:], done, 2)

    with pytest.raises(ProcessLostError, match="one of 2 processes .* was killed, .* goes on with the rest"):
        align_folder(str(photos), str(out), MARKS, killed)
    assert _align(photos, out).resumed == 2


def test_one_at_a_time(photos, tmp_path):
    def second(job, batches, done):
        with pytest.raises(DataError, match="expected no other align that writes it. Received: one at work"):
            _align(photos, tmp_path / "crops")
        run_in_processes(job, batches, done, 1)

    align_folder(str(photos), str(tmp_path / "crops"), MARKS, second)
    assert (tmp_path / "crops" / "faces.csv").exists()
