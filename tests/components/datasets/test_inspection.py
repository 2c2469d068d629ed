import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcface_common.errors import DataError
from components.datasets.inspection import inspect
from components.datasets.inspection_report import DatasetReport, PerIdentity
from components.formats import recordio, verification_bin
from tests.helpers import ROOT, exif, jpeg, with_exif, write_pairs, write_records

PNG_HEAD = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 13_000, 13_000)


def _index(folder: Path) -> recordio.Index:
    return recordio.read_index(str(folder / "train.idx"))


def _write(folder: Path, images: list[tuple[float, bytes]]) -> None:
    """im2rec's form: images at keys 0, 1, ..., listed in the index from the last to the first."""
    with recordio.RecordWriter(folder / "train.rec") as writer:
        offsets = [
            writer.append(recordio.pack(recordio.Record((label,), key, 0, image)))
            for key, (label, image) in enumerate(images)
        ]
    recordio.write_index(str(folder / "train.idx"), range(len(images))[::-1], offsets[::-1])


def _overwrite(folder: Path, key: int, data: bytes, skip: int = 0) -> int:
    """Damages the record of a key; returns its offset."""
    index = _index(folder)
    offset = int(index.offsets[index.keys == key][0])
    with open(folder / "train.rec", "r+b") as file:
        file.seek(offset + skip)
        file.write(data)
    return offset


def test_clean(tmp_path):
    write_records(tmp_path, [0, 0, 0, 1, 2, 2])
    write_pairs(tmp_path, "lfw", 10)
    report = inspect(tmp_path)
    assert (report.images, report.identities, report.announced_identities) == (6, 3, 3)
    assert report.has_header
    assert report.formats == {"JPEG 112x112": 6}
    assert report.image_bytes == sum(len(jpeg(i)) for i in range(6))
    assert report.per_identity == PerIdentity(1, 2.0, 3, ((1, 1, 1), (2, 3, 2)))
    assert [(x.name, x.pairs, x.same) for x in report.sets] == [("lfw", 10, 5)]
    assert report.shared == 0
    assert report.problems == []
    assert "lfw.bin       10 pairs: 5 same, 5 different" in "\n".join(report.lines())
    assert json.loads(json.dumps(report.to_dict()))["per_identity"]["median"] == 2.0


def test_a_set_that_shares_images_with_training_or_has_other_sizes(tmp_path):
    write_records(tmp_path, [0, 0, 0, 1, 2, 2])
    own, small = jpeg(100), jpeg(101, size=96)
    pairs = [own, jpeg(2), own, jpeg(4), small, own]
    verification_bin.write(tmp_path / "lfw.bin", pairs, [True, False, False])
    report = inspect(tmp_path)
    (found,) = report.sets
    assert (found.images, found.trained_on, found.resized) == (4, 2, 1)
    assert report.problems == ["lfw.bin shares images with train.rec"]
    assert "WARNING: 2 images of 4 are in train.rec, too" in "\n".join(report.lines())
    assert "1 image of 4 not 112x112: resized (bicubic)" in "\n".join(report.lines())


def test_histogram_covers_everyone():
    counts = np.array([4, 5, 7, 8, 100])
    assert PerIdentity.of(counts).histogram == ((4, 7, 3), (8, 15, 1), (16, 31, 0), (32, 63, 0), (64, 127, 1))


def test_im2rec_form_and_several_formats(tmp_path):
    png = io.BytesIO()
    Image.new("RGB", (96, 112)).save(png, "PNG")
    _write(tmp_path, [(0, jpeg(0)), (1, png.getvalue()), (1, jpeg(2))])
    report = inspect(tmp_path)
    assert not report.has_header
    assert report.announced_identities is None
    assert report.formats == {"JPEG 112x112": 2, "PNG 96x112": 1}
    assert report.problems == ["1 image not 112x112 (--set ingest.any_size=true takes them)"]


def test_the_same_picture_under_two_identities(tmp_path):
    _write(tmp_path, [(0, jpeg(0)), (1, jpeg(1)), (2, jpeg(0)), (1, jpeg(1)), (3, jpeg(5))])
    report = inspect(tmp_path)
    assert report.shared == 1  # keys 1 and 3 show the same picture of one identity
    assert report.shared_keys == ((0, 2),)
    assert "keys 0 = 2" in "\n".join(report.lines())
    assert report.problems == []


def test_damage_does_not_end_the_pass(tmp_path):
    write_records(tmp_path, [0, 0, 1, 1, 1])
    broken = _overwrite(tmp_path, 2, b"????")
    _overwrite(tmp_path, 4, b"no JPEG", skip=8 + 24)
    _overwrite(tmp_path, 5, b"\xff\xd8\xff" + bytes(400), skip=8 + 24)
    report = inspect(tmp_path)
    assert (report.images, report.damaged) == (2, 3)
    first, second, third = report.first_damaged
    assert (first.key, first.offset) == (2, broken)
    assert first.reason.startswith("expected a record: 8 bytes that begin with 0a 23 d7 ce. Received: 3f 3f 3f 3f")
    assert second.reason == "expected a JPEG or PNG image. Received: bytes 6e 6f 20 4a 50 45 47 46"
    assert third.key == 5
    assert report.problems == ["3 damaged records"]


def test_truncated_file_is_counted_to_its_end(tmp_path):
    write_records(tmp_path, [0, 0, 1, 1])
    index = _index(tmp_path)
    with open(tmp_path / "train.rec", "r+b") as file:
        file.truncate(int(index.offsets[4]) + 100)
    report = inspect(tmp_path)
    assert report.has_header
    assert "key 5" in report.layout_error
    assert report.images == 3
    assert [x.key for x in report.first_damaged] == [4, 5, 6]
    assert report.problems == ["broken header or identity records", "3 damaged records"]


def test_labels(tmp_path):
    _write(tmp_path, [(0.5, jpeg(0)), (float("nan"), jpeg(1)), (-1, jpeg(2)), (0, jpeg(3)), (2.0**31, jpeg(4))])
    report = inspect(tmp_path)
    assert (report.label_errors, report.identities, report.images) == (4, 1, 5)
    assert report.first_label_errors[0].key == 0
    expected = "expected a label that is an identity, a whole number of 0 .. 2**24 - 1 (float32 holds no larger ones "
    assert report.first_label_errors[0].reason == f"{expected}exactly). Received: 0.5"


def test_what_the_header_says_beside_the_labels_is_a_remark_and_no_problem(tmp_path):
    write_records(tmp_path, [0, 0, 26, 26], identities=3)
    report = inspect(tmp_path)
    assert report.problems == []
    assert (report.identities, report.label_errors) == (2, 0)
    assert report.remarks == (
        "3 identities announced, and 2 labels in the images",
        "2 identity records without an image: 6, 7",
        "2 images that no identity record claims: 3, 4",
    )
    assert "remark        3 identities announced, and 2 labels in the images" in "\n".join(report.lines())


def test_what_ingest_refuses_is_found(tmp_path, monkeypatch):
    """A JPEG that was cut, too many pixels, no image; a lying one is counted, and ingest turns it."""
    kinds = {2: jpeg(2)[: len(jpeg(2)) * 2 // 3], 3: with_exif(jpeg(3), exif(6)), 4: PNG_HEAD, 5: b"GIF89a"}
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: kinds.get(seed) or jpeg(seed))
    write_records(tmp_path, [0, 0, 1, 1, 1, 2])
    report = inspect(tmp_path)
    assert [place.key for place in report.first_damaged] == [3, 5, 6]
    assert report.problems == ["3 damaged records"]
    assert "without an end marker" in report.first_damaged[0].reason
    assert report.first_damaged[1].reason == (
        "expected an image of 1 to 16,777,216 pixels (ingest.max_image_pixels). Received: 13000x13000"
    )
    assert report.turned == 1
    assert "turned        1 image, as their EXIF orientation says" in "\n".join(report.lines())


def test_verification_sets_alone(tmp_path):
    write_pairs(tmp_path, "calfw", 10)
    (tmp_path / "._calfw.bin").write_bytes(b"what macOS leaves")
    report = inspect(tmp_path)
    assert report.problems == []
    assert list(report.lines()) == [
        f"{tmp_path}: verification sets alone, no train.rec",
        "calfw.bin     10 pairs: 5 same, 5 different",
    ]
    with pytest.raises(DataError, match=r"train\.rec: expected a RecordIO file"):
        inspect(tmp_path, write_index=True)


@pytest.mark.parametrize(
    "image, reason",
    [
        (jpeg(9)[:900], "pair 1, second image: expected a whole image. Received: 900 bytes"),
        (PNG_HEAD + b"IEND", "pair 1, second image: expected an image of 1 to 16,777,216 pixels"),
    ],
)
def test_a_set_that_a_run_would_refuse_is_a_problem(tmp_path, image, reason):
    verification_bin.write(tmp_path / "lfw.bin", [jpeg(1), jpeg(2), jpeg(3), image], [True, False])
    report = inspect(tmp_path)
    assert report.problems == ["lfw.bin is no usable verification set"]
    assert reason in "\n".join(report.lines())


def test_attributes_that_do_not_fit_their_set_are_a_problem(tmp_path):
    write_pairs(tmp_path, "lfw", 10)
    (tmp_path / "lfw.csv").write_text("image,group\n0,a\n")
    (found,) = inspect(tmp_path).sets
    assert "lfw.csv: expected a row for each of the 20 images" in found.error


def test_broken_verification_set(tmp_path):
    write_records(tmp_path, [0, 0])
    (tmp_path / "lfw.bin").write_bytes(b"text")
    report = inspect(tmp_path)
    assert report.problems == ["lfw.bin is no usable verification set"]
    assert "expected a whole pickle" in "\n".join(report.lines())


def test_missing_index(tmp_path):
    write_records(tmp_path, [0, 0, 1])
    original = (tmp_path / "train.idx").read_bytes()
    (tmp_path / "train.idx").unlink()
    assert inspect(tmp_path).index == "missing"
    assert not (tmp_path / "train.idx").exists()
    report = inspect(tmp_path, write_index=True)
    assert (report.index, report.images) == ("kept", 3)
    assert (tmp_path / "train.idx").read_bytes() == original
    with pytest.raises(DataError, match=r"train\.idx: expected no index"):
        inspect(tmp_path, write_index=True)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["property", "train.idx", "train.rec"]


def test_no_index_is_kept_that_makes_no_sense(tmp_path, capsys):
    write_records(tmp_path, [0, 0, 1])
    _overwrite(tmp_path, 2, b"?", skip=8 + 8)  # the record's id, by which a scan knows its key
    assert inspect(tmp_path).problems == []
    (tmp_path / "train.idx").unlink()
    report = inspect(tmp_path, write_index=True)
    assert report.remarks[0] == "1 image key that the header record announces, missing: 2"
    assert "train.idx is not written: not every record" in capsys.readouterr().err
    assert report.index == "missing"
    assert not (tmp_path / "train.idx").exists()


@pytest.mark.parametrize("content", [None, b"not a RecordIO file\n" * 100])
def test_no_data_set(tmp_path, content):
    if content:
        (tmp_path / "train.rec").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.rec.*: expected .* Received: "):
        inspect(tmp_path, write_index=True)
    assert not (tmp_path / "train.idx").exists()


def _cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "inspect", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_exit_codes(tmp_path):
    data = tmp_path / "data"
    write_records(data, [0, 0, 1])
    clean = _cli(str(data), "--json")
    assert clean.returncode == 0, clean.stderr
    assert set(json.loads(clean.stdout)) == {*DatasetReport.__dataclass_fields__, "problems"}
    _overwrite(data, 1, b"????")
    damaged = _cli(str(data))
    assert damaged.returncode == 1
    assert "images        2 in" in damaged.stdout
    assert damaged.stderr == "not clean: 1 damaged record\n"
    nowhere = _cli(str(tmp_path / "nowhere"))
    assert nowhere.returncode == 2
    assert "nowhere: expected a folder" in nowhere.stderr


def test_images_that_the_index_lacks(tmp_path):
    """Between others they are said, at the end they are an error: so a file looks that was cut."""
    _write(tmp_path, [(i // 2, jpeg(i)) for i in range(8)])
    lines = (tmp_path / "train.idx").read_text().splitlines(keepends=True)  # from the last image to the first
    (tmp_path / "train.idx").write_text("".join(lines[:3] + lines[5:]))
    lost = int(lines[2].split()[1]) - int(lines[4].split()[1])
    report = inspect(tmp_path)
    assert report.images == 6
    assert report.remarks == (
        f"1 record with images behind that train.idx has no line for, {lost:,} bytes left out: 2",
    )
    (tmp_path / "train.idx").write_text("".join(lines[3:]))
    with pytest.raises(DataError, match=r"train\.idx, key 4, .*Received: 5 lines, and none for the last [\d,]+ of"):
        inspect(tmp_path)


def test_a_label_that_float32_cannot_tell_from_its_neighbour_is_an_error(tmp_path):
    """300,000,001 .. 300,000,004 are stored as 300,000,000: four people would be one."""
    for label in (2**24 - 1, 2**24):
        _write(tmp_path, [(0, jpeg(0)), (label, jpeg(1))])
        assert inspect(tmp_path).label_errors == (label == 2**24)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("40,112,112", ("property says 40 identities, and the images have 2 labels",)),
        ("2,112,112\n", ()),
        ("3", ("property says 3 identities, and the images have 2 labels",)),
        ("faces of 2019", ()),
        ("", ()),
    ],
)
def test_property_that_differs_from_the_labels_is_a_remark(tmp_path, text, said):
    _write(tmp_path, [(0, jpeg(0)), (1, jpeg(1))])
    (tmp_path / "property").write_text(text)
    assert inspect(tmp_path).remarks == said
