"""None"""

import io
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from arcface_common.errors import DataError
from arcface_common.image_pixels import decode
from components.datasets.conversion import convert
from components.datasets.inspection import inspect
from components.formats import verification_bin
from tests.components.datasets.conversions import listed, png, records_in, refused
from tests.helpers import ROOT, exif, jpeg, with_exif


def _opencv(encoded: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_round_trip(faces, tmp_path):
    out = tmp_path / "out"
    report = convert(faces, out)
    assert report.lines() == ["train.rec: 6 images of 3 identities"]
    layout, records = records_in(out)
    assert layout.identity_ranges.tolist() == [[1, 3], [4, 5], [6, 6]]
    assert [record.payload for record in records] == [*map(jpeg, (0, 1, 2)), jpeg(10), jpeg(11), png()]
    assert [record.label for record in records] == [0, 0, 0, 1, 1, 2]
    assert [record.id for record in records] == layout.image_keys.tolist() == [1, 2, 3, 4, 5, 6]
    assert (out / "property").read_text() == "3,112,112"
    assert (out / "identities.txt").read_text() == "0\tAnn\n1\tBo\n2\tCy\n"
    assert inspect(out).problems == []


def test_deterministic(faces, tmp_path):
    pairs = listed(faces, "Ann/Ann_0001.jpg Bo/Bo_0001.jpg 0\n")
    for out in ("a", "b"):
        convert(faces, tmp_path / out, pairs=pairs)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_other_size(faces, tmp_path):
    (faces / "Bo" / "Bo_0003.jpg").write_bytes(jpeg(12, size=150))
    refused(faces, r"Bo_0003\.jpg: expected 112x112 pixels .* Received: 150x150")
    report = convert(faces, tmp_path / "out", resize=True)
    assert report.resized == 1
    assert "images resized to 112x112, JPEG quality 95: 1" in report.lines()
    payloads = [record.payload for record in records_in(tmp_path / "out")[1]]
    assert payloads[4] == jpeg(11)  # of the right size: as it was
    assert Image.open(io.BytesIO(payloads[5])).size == (112, 112)
    assert inspect(tmp_path / "out").formats == {"JPEG 112x112": 6, "PNG 112x112": 1}


@pytest.mark.parametrize("data", [b"text", b"", jpeg(3)[:900], png()[:60]])
def test_no_whole_image(faces, data):
    (faces / "Cy" / "Cy_0002.jpg").write_bytes(data)
    refused(faces, r"Cy_0002\.jpg: expected a")
    refused(faces, r"Cy_0002\.jpg: expected a", resize=True)


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
    report = convert(faces, tmp_path / "out", resize=True, pairs=listed(faces, "Cy/Cy_0002.jpg Cy/Cy_0003.jpg 1\n"))
    assert "images turned as their EXIF orientation says: 2" in report.lines()
    assert report.resized == 1
    turned, resized = (record.payload for record in records_in(tmp_path / "out")[1][-2:])
    np.testing.assert_array_equal(decode(turned), _opencv(lying))  # nothing is lost
    expected = np.asarray(Image.fromarray(_opencv(large)).resize((112, 112), Image.Resampling.BILINEAR))
    assert np.abs(decode(resized).astype(int) - expected).mean() < 2  # encoded anew
    assert verification_bin.read(tmp_path / "out" / "lfw.bin").images == [turned, resized]


def test_16_bits_grey_are_not_turned_white(faces, tmp_path):
    wide = np.linspace(0, 65535, 150 * 150).astype(np.uint16).reshape(150, 150)
    (faces / "Cy" / "Cy_0002.png").write_bytes(cv2.imencode(".png", wide)[1].tobytes())
    convert(faces, tmp_path / "out", resize=True)
    payload = records_in(tmp_path / "out")[1][-1].payload
    assert abs(decode(payload).mean() - 127) < 2


def test_a_picture_of_too_many_pixels_is_named(faces):
    (faces / "Cy" / "Cy_0002.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 13_000, 13_000)
    )
    refused(faces, r"Cy_0002\.png: expected an image of 1 to 16,777,216 pixels. Received: 13000x13000", resize=True)


def test_a_file_that_is_larger_than_any_picture_is_not_read(faces):
    with open(faces / "Cy" / "Cy_0002.jpg", "wb") as file:
        file.write(jpeg(1))
        file.truncate(10**12)  # a sparse file, which takes no disk
    refused(faces, r"Cy_0002\.jpg: expected a file of at most 135,266,304 bytes. Received: 1,000,000,000,000 bytes")


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
    refused(faces, r"loose\.jpg: expected images in one folder an identity")


def test_a_linked_folder_is_no_other_identity(faces):
    (faces / "Dee").symlink_to("Ann")
    refused(faces, "expected one folder an identity. Received: 'Ann' and 'Dee', which a link makes one folder")


def test_folders_that_are_links_are_known_by_their_names(faces, tmp_path):
    (tmp_path / "linked").mkdir()
    for name in ("Ann", "Bo"):
        (tmp_path / "linked" / name).symlink_to(faces / name)
    good = "Ann/Ann_0001.jpg Ann/Ann_0002.jpg 1\nAnn/Ann_0001.jpg Bo/Bo_0001.jpg 0\n"
    report = convert(tmp_path / "linked", tmp_path / "out", pairs=listed(faces, good))
    assert (report.set.pairs, report.set.remarks) == (2, ())
    with pytest.raises(DataError, match="line 1: expected different people. Received: two images of 'Ann'"):
        convert(tmp_path / "linked", tmp_path / "b", pairs=listed(faces, "Ann/Ann_0001.jpg Ann/Ann_0002.jpg 0\n"))


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
