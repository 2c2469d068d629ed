import io
import struct
import subprocess
import sys
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from arcface_common.errors import DataError
from arcface_common.image_pixels import decode
from components.datasets.conversion import convert
from components.datasets.inspection import inspect
from components.datasets.pair_list import PairList
from components.formats import recordio, verification_bin
from tests.helpers import ROOT, exif, jpeg, with_exif


def _png(size: int = 112) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (200, 30, 60)).save(buffer, "PNG")
    return buffer.getvalue()


def _opencv(encoded: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.fixture
def faces(tmp_path) -> Path:
    """Three people: Ann with three images, Bo with two, Cy with a PNG."""
    folder = tmp_path / "faces"
    for name, number, data in (
        ("Cy", "0001.png", _png()),
        ("Bo", "0001.jpg", jpeg(10)),
        ("Bo", "0002.jpeg", jpeg(11)),
        ("Ann", "0002.jpg", jpeg(1)),
        ("Ann", "0001.jpg", jpeg(0)),
        ("Ann", "0010.JPG", jpeg(2)),
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{name}_{number}").write_bytes(data)
    return folder


def _records(folder: Path) -> tuple[recordio.DatasetLayout, list[recordio.Record]]:
    index = recordio.read_index(str(folder / "train.idx"))
    with recordio.RecordReader(folder / "train.rec") as reader:
        layout = recordio.read_layout(reader, index)
        entries = zip(layout.image_keys, layout.image_offsets, strict=True)
        return layout, [reader.read(offset, key=key) for key, offset in entries]


def _refused(faces: Path, pattern: str, **more) -> None:
    out = faces.parent / "out"
    with pytest.raises(DataError, match=pattern) as caught:
        convert(faces, out, **more)
    assert "Received: " in str(caught.value)
    assert not out.exists()
    assert not [x for x in faces.parent.iterdir() if "partial" in x.name]


def _list(faces: Path, text: str) -> PairList:
    path = faces.parent / "pairs.txt"
    path.write_text(text)
    return PairList(str(path), "lfw")


def test_round_trip(faces, tmp_path):
    out = tmp_path / "out"
    report = convert(faces, out)
    assert report.lines() == ["train.rec: 6 images of 3 identities"]
    layout, records = _records(out)
    assert layout.identity_ranges.tolist() == [[1, 3], [4, 5], [6, 6]]
    assert [record.payload for record in records] == [*map(jpeg, (0, 1, 2)), jpeg(10), jpeg(11), _png()]
    assert [record.label for record in records] == [0, 0, 0, 1, 1, 2]
    assert [record.id for record in records] == layout.image_keys.tolist() == [1, 2, 3, 4, 5, 6]
    assert (out / "property").read_text() == "3,112,112"
    assert (out / "identities.txt").read_text() == "0\tAnn\n1\tBo\n2\tCy\n"
    assert inspect(out).problems == []


def test_deterministic(faces, tmp_path):
    pairs = _list(faces, "Ann/Ann_0001.jpg Bo/Bo_0001.jpg 0\n")
    for out in ("a", "b"):
        convert(faces, tmp_path / out, pairs=pairs)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_other_size(faces, tmp_path):
    (faces / "Bo" / "Bo_0003.jpg").write_bytes(jpeg(12, size=150))
    _refused(faces, r"Bo_0003\.jpg: expected 112x112 pixels .* Received: 150x150")
    report = convert(faces, tmp_path / "out", resize=True)
    assert report.resized == 1
    assert "images resized to 112x112, JPEG quality 95: 1" in report.lines()
    payloads = [record.payload for record in _records(tmp_path / "out")[1]]
    assert payloads[4] == jpeg(11)  # of the right size: as it was
    assert Image.open(io.BytesIO(payloads[5])).size == (112, 112)
    assert inspect(tmp_path / "out").formats == {"JPEG 112x112": 6, "PNG 112x112": 1}


@pytest.mark.parametrize("data", [b"text", b"", jpeg(3)[:900], _png()[:60]])
def test_no_whole_image(faces, data):
    (faces / "Cy" / "Cy_0002.jpg").write_bytes(data)
    _refused(faces, r"Cy_0002\.jpg: expected a")
    _refused(faces, r"Cy_0002\.jpg: expected a", resize=True)


def test_photos_that_are_squeezed_are_said(faces, tmp_path):
    for number, shape in ((3, (200, 100)), (4, (100, 200)), (5, (150, 150))):
        image = Image.fromarray(decode(jpeg(number, size=300))[: shape[1], : shape[0]])
        image.save(faces / "Bo" / f"Bo_{number:04d}.png")
    lines = convert(faces, tmp_path / "out", resize=True).lines()
    assert lines[1:] == [
        "images resized to 112x112, JPEG quality 95: 3",
        f"warning: 2 of them were not square and are squeezed now, {faces}/Bo/Bo_0003.png (200x100) the first: "
        "`arcface-tfx align` crops faces",
    ]


def test_what_is_left_out_is_said(faces, tmp_path):
    (faces / "Empty").mkdir()
    (faces / "Ann" / "notes.txt").write_text("notes")
    (faces / "Ann" / ".hidden").write_text("hidden")
    (faces / "README").write_text("read me")
    report = convert(faces, tmp_path / "out")
    assert report.lines()[-1] == "left out, no images: 4 (Ann/.hidden, Ann/notes.txt, Empty/, README)"
    assert report.identities == 3


def test_a_picture_is_turned_as_its_exif_says(faces, tmp_path):
    lying, large = with_exif(jpeg(20), exif(6)), with_exif(jpeg(21, size=150), exif(8))
    (faces / "Cy" / "Cy_0002.jpg").write_bytes(lying)
    (faces / "Cy" / "Cy_0003.jpg").write_bytes(large)
    report = convert(faces, tmp_path / "out", resize=True, pairs=_list(faces, "Cy/Cy_0002.jpg Cy/Cy_0003.jpg 1\n"))
    assert "images turned as their EXIF orientation says: 2" in report.lines()
    assert report.resized == 1
    turned, resized = (record.payload for record in _records(tmp_path / "out")[1][-2:])
    np.testing.assert_array_equal(decode(turned), _opencv(lying))  # nothing is lost
    expected = np.asarray(Image.fromarray(_opencv(large)).resize((112, 112), Image.Resampling.BILINEAR))
    assert np.abs(decode(resized).astype(int) - expected).mean() < 2  # encoded anew
    assert verification_bin.read(tmp_path / "out" / "lfw.bin").images == [turned, resized]


def test_16_bits_grey_are_not_turned_white(faces, tmp_path):
    wide = np.linspace(0, 65535, 150 * 150).astype(np.uint16).reshape(150, 150)
    (faces / "Cy" / "Cy_0002.png").write_bytes(cv2.imencode(".png", wide)[1].tobytes())
    convert(faces, tmp_path / "out", resize=True)
    payload = _records(tmp_path / "out")[1][-1].payload
    assert abs(decode(payload).mean() - 127) < 2


def test_a_picture_of_too_many_pixels_is_named(faces):
    (faces / "Cy" / "Cy_0002.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 13_000, 13_000)
    )
    _refused(faces, r"Cy_0002\.png: expected an image of 1 to 16,777,216 pixels. Received: 13000x13000", resize=True)


def test_a_file_that_is_larger_than_any_picture_is_not_read(faces):
    with open(faces / "Cy" / "Cy_0002.jpg", "wb") as file:
        file.write(jpeg(1))
        file.truncate(10**12)  # a sparse file, which takes no disk
    _refused(faces, r"Cy_0002\.jpg: expected a file of at most 135,266,304 bytes. Received: 1,000,000,000,000 bytes")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_pairs_find_files_in_another_case_and_unicode_form(tmp_path, form):
    faces = tmp_path / "faces"
    name = unicodedata.normalize(form, "Zoé_Ü")
    (faces / name).mkdir(parents=True)
    for number, data in enumerate((jpeg(0), jpeg(1)), 1):
        (faces / name / f"{name}_{number:04d}.JPG").write_bytes(data)
    (faces / "Bo").mkdir()
    (faces / "Bo" / "Bo_0001.jpg").write_bytes(jpeg(2))
    asked = unicodedata.normalize("NFC", "ZOÉ_ü")
    for text in (
        f"1\n{asked}\t1\t2\n{asked}\t1\tbo\t1\n",
        f"{asked}/{asked}_0001.jpg {asked}/{asked}_0002.jpg 1\n",
    ):
        (tmp_path / "pairs.txt").write_text(text)
        out = tmp_path / f"out{len(text)}"
        convert(faces, out, pairs=PairList(str(tmp_path / "pairs.txt"), "lfw"))
        assert verification_bin.read(out / "lfw.bin").images[:2] == [jpeg(0), jpeg(1)]


def test_the_exact_name_wins_and_two_others_are_no_answer(faces, tmp_path):
    (faces / "Ann" / "ANN_0001.jpg").write_bytes(jpeg(30))
    convert(faces, tmp_path / "out", pairs=_list(faces, "Ann/Ann_0001.jpg Ann/ANN_0001.jpg 1\n"))
    assert verification_bin.read(tmp_path / "out" / "lfw.bin").images == [jpeg(0), jpeg(30)]
    with pytest.raises(DataError, match=r"line 1: expected a file .*ann_0001\.jpg. Received: no such file"):
        convert(faces, tmp_path / "other", pairs=_list(faces, "Ann/ann_0001.jpg Bo/Bo_0001.jpg 1\n"))


def test_refused_folders(faces, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="nothing: expected one folder an identity"):
        convert(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(DataError, match="nowhere: expected a folder with one folder an identity"):
        convert(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DataError, match="expected a folder outside of"):
        convert(faces, faces / "out")
    with pytest.raises(DataError, match="nothing: expected a folder that doesn't exist yet"):
        convert(faces, tmp_path / "nothing")
    (faces / "loose.jpg").write_bytes(jpeg(0))
    _refused(faces, r"loose\.jpg: expected images in one folder an identity")


@pytest.mark.parametrize("first", ["2 1", "2\t1"])
def test_lfw_list(faces, tmp_path, first):
    text = f"{first}\nAnn\t1\t2\nAnn\t1\tBo\t2\nBo\t1\t2\nCy\t1\tAnn\t2\n"
    report = convert(faces, tmp_path / "out", pairs=_list(faces, text))
    found = verification_bin.read(tmp_path / "out" / "lfw.bin")
    expected = [jpeg(0), jpeg(1), jpeg(0), jpeg(11), jpeg(10), jpeg(11), _png(), jpeg(1)]
    assert found.images == expected
    assert found.is_same.tolist() == [True, False, True, False]
    assert "lfw.bin: 4 pairs: 2 same, 2 different" in report.lines()
    assert report.lines()[-1].startswith("warning: 5 of the 5 images of lfw.bin are in train.rec")


def test_plain_list_of_held_out_people(faces, tmp_path):
    (tmp_path / "held out").mkdir()
    for i in range(2):
        (tmp_path / "held out" / f"{i}.jpg").write_bytes(jpeg(20 + i, size=96))
    pairs = _list(faces, "../held out/0.jpg\t../held out/1.jpg\t1\n\n../held out/0.jpg\tCy/Cy_0001.png\t0\n")
    _refused(faces, r"0\.jpg, .*1\.jpg: expected 112x112", pairs=pairs)
    report = convert(faces, tmp_path / "out", pairs=pairs, resize=True)
    found = report.set
    assert (found.pairs, found.same, report.resized, found.known, found.images) == (2, 1, 2, 1, 3)
    assert verification_bin.read(tmp_path / "out" / "lfw.bin").is_same.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", r"pairs\.txt: expected a list of pairs. Received: no line"),
        ("1\nAnn 1 2\nAnn one Bo 1\n", r'pairs\.txt, line 3: expected "name n1 n2" or .* Received: .Ann one Bo 1'),
        ("9" * 5000 + "\nAnn 1 2\n", r'line 1: expected "path_a path_b 0\|1"'),
        ("1\nAnn 1 " + "9" * 5000 + "\nAnn 1 Bo 1\n", r'line 2: expected "name n1 n2"'),
        ("1\nAnn 1\nAnn 1 Bo 1\n", r"pairs\.txt, line 2: expected \"name n1 n2\""),
        ("1\nAnn 1 2\nAnn 1 Bo 7\n", r"line 3: expected a file .*Bo_0007\.jpg or \.jpeg or \.png. Received: no such"),
        ("2 1\nAnn 1 2\nAnn 1 Bo 1\n", r"line 1: expected 2 pairs of either kind.* Received: 1 same, 1 different"),
        ("Ann/Ann_0001.jpg Ann/Ann_0002.jpg 2\n", r'line 1: expected "path_a path_b 0\|1"'),
        ("\nAnn/Ann_0001.jpg Ann/nobody.jpg 1\n", r"line 2: expected a file .*nobody\.jpg. Received: no such file"),
    ],
)
def test_bad_lists(faces, text, pattern):
    _refused(faces, pattern, pairs=_list(faces, text))


CONTRADICTIONS = {
    "two kinds": (
        "Ann/Ann_0001.jpg Bo/Bo_0001.jpg 0\n\nBo/Bo_0001.jpg Ann/Ann_0001.jpg 1\n",
        "line 3: expected the kind that line 1 gives .*: different people in line 1 and the same in line 3 for .*Bo",
    ),
    "two kinds of an image with itself": (
        "Ann/Ann_0001.jpg Ann/Ann_0001.jpg 1\nAnn/Ann_0001.jpg Ann/Ann_0001.jpg 0\n",
        r"line 2: expected the kind that line 1 gives this pair",
    ),
    "two kinds by another name": (
        "Ann/Ann_0001.jpg Bo/Bo_0001.jpg 1\nANN/../Ann/Ann_0001.jpg Bo/Bo_0001.jpg 0\n",
        "line 2: expected the kind that line 1 gives this pair",
    ),
    "itself": (
        "Ann/Ann_0001.jpg Ann/Ann_0001.jpg 0\n",
        "line 1: expected different people. Received: an image and itself, .*Ann_0001",
    ),
    "one folder": (
        "Ann/Ann_0001.jpg Bo/Bo_0001.jpg 0\nAnn/Ann_0001.jpg ./Ann/Ann_0002.jpg 0\n",
        "line 2: expected different people. Received: two images of 'Ann', .*Ann_0001.jpg and .*Ann_0002.jpg",
    ),
    "one name in LFW's form": (
        "1\nAnn 1 2\nAnn 1 Ann 10\n",
        "line 3: expected different people. Received: two images of 'Ann'",
    ),
}


@pytest.mark.parametrize(("text", "pattern"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_contradictory_lists(faces, text, pattern):
    _refused(faces, rf"pairs\.txt, {pattern}", pairs=_list(faces, text))


def test_one_person_by_a_linked_image_is_no_other(faces):
    (faces / "Ann" / "again.jpg").symlink_to("Ann_0001.jpg")
    text = "Ann/Ann_0001.jpg Ann/again.jpg 0\n"
    _refused(faces, "line 1: expected different people. Received: an image and itself", pairs=_list(faces, text))


def test_a_linked_folder_is_no_other_identity(faces):
    (faces / "Dee").symlink_to("Ann")
    _refused(faces, "expected one folder an identity. Received: 'Ann' and 'Dee', which a link makes one folder")


def test_folders_that_are_links_are_known_by_their_names(faces, tmp_path):
    (tmp_path / "linked").mkdir()
    for name in ("Ann", "Bo"):
        (tmp_path / "linked" / name).symlink_to(faces / name)
    good = "Ann/Ann_0001.jpg Ann/Ann_0002.jpg 1\nAnn/Ann_0001.jpg Bo/Bo_0001.jpg 0\n"
    report = convert(tmp_path / "linked", tmp_path / "out", pairs=_list(faces, good))
    assert (report.set.pairs, report.set.remarks) == (2, ())
    with pytest.raises(DataError, match="line 1: expected different people. Received: two images of 'Ann'"):
        convert(tmp_path / "linked", tmp_path / "b", pairs=_list(faces, "Ann/Ann_0001.jpg Ann/Ann_0002.jpg 0\n"))


def test_what_is_odd_about_a_list_is_said(faces, tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "a.jpg").write_bytes(jpeg(50))
    text = (
        "Ann/Ann_0001.jpg Ann/Ann_0002.jpg 1\nAnn/Ann_0002.jpg Ann/Ann_0001.jpg 1\nBo/Bo_0001.jpg Bo/Bo_0001.jpg 1\n"
        "Ann/Ann_0001.jpg Bo/Bo_0001.jpg 1\n../others/a.jpg Bo/Bo_0001.jpg 0\n"
        f"{tmp_path}/others/a.jpg Cy/Cy_0001.png 1\n"
    )
    lines = convert(faces, tmp_path / "out", pairs=_list(faces, text)).lines()
    assert lines[-4:] == [
        "warning: 1 of 6 pairs listed more than once",
        "warning: 1 of 6 pairs of an image with itself, in which every network sees one person",
        "warning: 1 of 6 pairs marked as one person, of two folders",
        f"warning: 2 of 6 pairs with an image outside of {faces}",
    ]


def test_bad_list_files(faces):
    with pytest.raises(DataError, match="expected a set's name of letters"):
        PairList("pairs.txt", "../lfw")
    _refused(faces, r"nowhere\.txt: expected a list of pairs", pairs=PairList("nowhere.txt", "lfw"))
    (faces.parent / "pairs.txt").write_bytes(b"\xff\xfe\x00")
    _refused(faces, "expected text in UTF-8", pairs=PairList(str(faces.parent / "pairs.txt"), "lfw"))


def _cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "convert", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_exit_codes(faces, tmp_path):
    out = str(tmp_path / "deep" / "out")
    written = _cli(str(faces), out)
    assert written.returncode == 0, written.stderr
    assert written.stdout == f"train.rec: 6 images of 3 identities\n{out}: written\n"
    again = _cli(str(faces), out)
    assert again.returncode == 2
    assert "expected a folder that doesn't exist yet" in again.stderr
    alone = _cli(str(faces), str(tmp_path / "other"), "--set-name", "lfw")
    assert alone.returncode == 2
    assert "--pairs and --set-name go together" in alone.stderr
    number = _cli(str(faces), str(tmp_path / "other"), "--set-name", "lfw", "--pairs", "6000")
    assert number.returncode == 2
    assert (
        "--pairs: expected a list of pairs, or --verify-identities with a number of them. Received: 6000"
        in number.stderr
    )
