"""The way back: records to folders, sets to images and a list, and forth again to the same bytes."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from arcface_common.errors import DataError
from components.datasets.conversion import convert
from components.datasets.kept_out import KeepOut
from components.datasets.pair_list import PairList
from components.datasets.unpacking import unpack
from components.formats import recordio, verification_bin
from tests.helpers import ROOT, jpeg, write_records


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (112, 112), (200, 30, 60)).save(buffer, "PNG")
    return buffer.getvalue()


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("**/*") if path.is_file()}


def _refused(file: Path, message: str, **more) -> None:
    before = sorted(os.listdir(file.parent))
    with pytest.raises(DataError, match=message):
        unpack(file, file.parent / "out", **more)
    assert sorted(os.listdir(file.parent)) == before


@pytest.fixture
def data(tmp_path) -> Path:
    """Identities 0, 0, 1, 2, 2, 2; image i has the key i + 1."""
    write_records(tmp_path / "data", [0, 0, 1, 2, 2, 2])
    return tmp_path / "data"


def test_records_become_one_folder_an_identity_and_records_again(data, tmp_path):
    report = unpack(data / "train.rec", tmp_path / "out")
    assert report.lines() == ["6 images in 3 folders"]
    names = ["0000000/1", "0000000/2", "0000001/3", "0000002/4", "0000002/5", "0000002/6"]
    assert _tree(tmp_path / "out") == {f"{name}.jpg": jpeg(i) for i, name in enumerate(names)}
    convert(tmp_path / "out", tmp_path / "back")
    for name in ("train.rec", "train.idx", "property"):
        assert (tmp_path / "back" / name).read_bytes() == (data / name).read_bytes()


def test_names_of_identities_come_back(tmp_path):
    for name, image in (("Ann/a.jpg", jpeg(0)), ("Zoé/b.jpg", jpeg(1)), ("Zoé/c.bin", _png())):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / name).write_bytes(image)
    convert(tmp_path / "faces", tmp_path / "data")
    unpack(tmp_path / "data" / "train.rec", tmp_path / "out")
    assert _tree(tmp_path / "out") == {"Ann/1.jpg": jpeg(0), "Zoé/2.jpg": jpeg(1), "Zoé/3.png": _png()}
    convert(tmp_path / "out", tmp_path / "again")
    assert _tree(tmp_path / "again") == _tree(tmp_path / "data")


def test_plain_records_and_a_missing_index(tmp_path):
    """im2rec's form, in which key 0 is an image."""
    (tmp_path / "data").mkdir()
    with recordio.RecordWriter(tmp_path / "data" / "faces.rec") as writer:
        for key in range(12):
            writer.append(recordio.pack(recordio.Record((float(key % 2),), key, 0, jpeg(key))))
    unpack(tmp_path / "data" / "faces.rec", tmp_path / "out")
    assert _tree(tmp_path / "out") == {f"000000{key % 2}/{key:02d}.jpg": jpeg(key) for key in range(12)}


def _spoil(data: Path, key: int, label: float | None = None) -> int:
    """Damages a record's image, or gives it another label of the same length."""
    index = recordio.read_index(str(data / "train.idx"))
    offset = int(index.offsets[index.keys == key][0])
    with open(data / "train.rec", "r+b") as file:
        if label is None:
            file.seek(offset + 8 + 24)
            file.write(b"GIF89a")
        else:
            file.seek(offset + 8 + 4)
            file.write(np.float32(label).tobytes())
    return offset


def test_bad_records_are_named_or_left_out(data, tmp_path):
    first, second = _spoil(data, 2), _spoil(data, 4, label=-1)
    message = (
        f"^2 of the records can't be used .--skip-bad leaves them out.: .*train.rec, key 2, byte offset {first}: "
        f"expected a JPEG or PNG image. Received: bytes 47 49 46 .*; .*key 4, byte offset {second}: expected a label"
    )
    _refused(data / "train.rec", message)
    report = unpack(data / "train.rec", tmp_path / "out", skip_bad=True)
    assert report.lines()[:2] == ["4 images in 3 folders", "left out, records that can't be used: 2 (skipped.csv)"]
    rows = list(csv.reader((tmp_path / "out" / "skipped.csv").read_text().splitlines()))
    assert rows[1] == [
        f"{data}/train.rec, key 2, byte offset {first}",
        "expected a JPEG or PNG image. Received: bytes 47 49 46 38 39 61 4a 46",
    ]
    assert len(rows) == 3
    convert(tmp_path / "out", tmp_path / "back")


def test_a_damaged_record_doesn_t_end_the_others(data, tmp_path):
    index = recordio.read_index(str(data / "train.idx"))
    with open(data / "train.rec", "r+b") as file:
        file.seek(int(index.offsets[index.keys == 3][0]))
        file.write(b"oops")
    _refused(data / "train.rec", "1 of the records .*key 3, byte offset .*: expected a record: 8 bytes that begin with")
    assert unpack(data / "train.rec", tmp_path / "out", skip_bad=True).images == 5


@pytest.mark.parametrize(
    "name", ["..", "../out", "a/b", "/etc", ".hidden", "", "x" * 256, "skipped.csv", "a\0b", "a\tb", "a\rb"]
)
def test_no_name_leaves_the_folder(data, name):
    (data / "identities.txt").write_bytes(f"0\tAnn\n1\t{name}\n2\tBo\n".encode())
    _refused(data / "train.rec", r"identities.txt, line 2: expected .label TAB name., a name that a folder can have")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\tAnn\n1\tAnn\n", "line 2: expected another label and name in each"),
        ("0\tZo\u00e9\n1\tZoe\u0301\n", "line 2: expected another label and name in each"),
        ("0\tAnn\n0\tBo\n", "line 2: expected another label and name in each"),
        ("zero\tAnn\n", "line 1: expected .label TAB name."),
        ("0\tAnn\n1\tBo\n", "expected a name for each label of train.rec .without the file.*. Received: none for 2"),
    ],
)
def test_names_that_are_not_of_these_records(data, text, message):
    (data / "identities.txt").write_text(text)
    _refused(data / "train.rec", f"identities.txt.*{message}")
    _refused(data / "train.rec", f"identities.txt.*{message}", skip_bad=True)


def test_other_files_are_refused(data, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="there: expected a folder that doesn't exist yet. Received: an existing one"):
        unpack(data / "train.rec", tmp_path / "there")
    with pytest.raises(DataError, match="train.idx: expected a name that ends in .rec or .bin. Received: .idx"):
        unpack(data / "train.idx", tmp_path / "out")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "lfw.bin").write_bytes(b"text")
    _refused(tmp_path / "bad" / "lfw.bin", "lfw.bin: expected a whole pickle of images and bools")
    (tmp_path / "bad" / "train.rec").write_bytes(b"text" * 9)
    _refused(tmp_path / "bad" / "train.rec", "byte offset 0: expected a record")
    for key in range(1, 7):
        _spoil(data, key)
    _refused(data / "train.rec", "train.rec: expected an image that can be used. Received: none", skip_bad=True)


IMAGES = [*map(jpeg, range(5)), _png()]
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=8)


def _contradicts(pairs) -> bool:
    kinds = {(min(a, b), max(a, b), same) for a, b, same in pairs}
    return any((a == b and not same) or (a, b, not same) in kinds for a, b, same in kinds)


@given(PAIRS)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_set_becomes_images_and_a_list_and_the_same_set_again(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("set")
    images = [IMAGES[i] for a, b, _ in pairs for i in (a, b)]
    verification_bin.write(folder / "lfw.bin", images, [same for *_, same in pairs])
    report = unpack(folder / "lfw.bin", folder / "out")
    assert report.pairs == len(pairs)
    assert sorted(x for name, x in _tree(folder / "out").items() if name != "pairs.txt") == sorted(set(images))
    listed = PairList(str(folder / "out" / "pairs.txt"), "lfw")
    if _contradicts(pairs):
        assert any("`convert --pairs` refuses" in line for line in report.lines())
        with pytest.raises(DataError, match="pairs.txt, line"):
            convert(folder / "out", folder / "back", pairs=listed)
        return
    convert(folder / "out", folder / "back", pairs=listed)
    assert (folder / "back" / "lfw.bin").read_bytes() == (folder / "lfw.bin").read_bytes()
    unpack(folder / "back" / "lfw.bin", folder / "again")
    assert _tree(folder / "again") == _tree(folder / "out")


def test_people_of_a_set_are_chains_of_pairs_of_one_person(tmp_path):
    """a = b = c, d alone; then a pair that says a and c are two people, which leaves each image by itself."""
    a, b, c, d = map(jpeg, range(4))
    pairs, same = [a, b, a, d, b, c], [True, False, True]
    verification_bin.write(tmp_path / "x.bin", pairs, same)
    unpack(tmp_path / "x.bin", tmp_path / "chain")
    assert sorted(_tree(tmp_path / "chain")) == ["0/0.jpg", "0/1.jpg", "0/5.jpg", "3/3.jpg", "pairs.txt"]
    lines = (tmp_path / "chain" / "pairs.txt").read_text().splitlines()
    assert lines == ["0/0.jpg\t0/1.jpg\t1", "0/0.jpg\t3/3.jpg\t0", "0/1.jpg\t0/5.jpg\t1"]
    verification_bin.write(tmp_path / "x.bin", [*pairs, a, c], [*same, False])
    assert unpack(tmp_path / "x.bin", tmp_path / "torn").identities == 4


def test_bad_images_of_a_set_are_left_out_with_their_pairs(tmp_path):
    (tmp_path / "sets").mkdir()
    path = tmp_path / "sets" / "lfw.bin"
    verification_bin.write(path, [jpeg(0), jpeg(1), jpeg(0), jpeg(2)[:800]], [True, False])
    _refused(path, "1 of the images .*lfw.bin, pair 1, second image: expected a whole image. Received: 800 bytes")
    report = unpack(path, tmp_path / "out", skip_bad=True)
    assert (report.images, report.pairs) == (2, 1)
    assert "warning: 1 more pairs left out with them" in report.lines()


@pytest.mark.parametrize("name", ["train/train.rec", "train/lfw.bin", "official/lfw.bin"])
def test_what_mxnet_and_insightface_wrote_comes_back_to_the_byte(real_faces, tmp_path, name):
    file = real_faces / name
    unpack(file, tmp_path / "out")
    pairs = PairList(str(tmp_path / "out" / "pairs.txt"), "lfw") if file.suffix == ".bin" else None
    convert(tmp_path / "out", tmp_path / "back", pairs=pairs)
    assert (tmp_path / "back" / file.name).read_bytes() == file.read_bytes()


def test_the_command(data, tmp_path):
    command = [sys.executable, "-m", "pipeline", "unpack", str(data / "train.rec"), str(tmp_path / "out")]
    done, again = (subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT) for _ in range(2))
    assert (done.returncode, done.stdout) == (0, f"6 images in 3 folders\n{tmp_path}/out: written\n"), done.stderr
    assert again.returncode == 2
    assert again.stderr.startswith(f"error: {tmp_path}/out: expected a folder that doesn't exist yet. Received: an ")


def _written_set(folder: Path, table: str) -> Path:
    """Pairs a = b, c = d, a / c, b / d, of which alone a and c may be one person; and a CSV beside them."""
    folder.mkdir()
    a, b, c, d = map(jpeg, range(4))
    verification_bin.write(folder / "own.bin", [a, b, c, d, a, c, b, d], [True, True, False, False])
    (folder / "own.csv").write_text(table)
    return folder / "own.bin"


def _table(labels: str) -> str:
    return "image,identity\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels.split(",")))


def test_a_set_s_csv_says_who_is_who(tmp_path):
    """Pairs chain only c with d, and leave a person's other images in folders of their own; the CSV has all."""
    folder = tmp_path / "set"
    folder.mkdir()
    a, b, c, d = map(jpeg, range(4))
    verification_bin.write(folder / "own.bin", [a, c, b, d, c, d], [False, False, True])
    alone = unpack(folder / "own.bin", tmp_path / "alone")
    assert alone.identities == 3
    assert "one person may have several" in alone.lines()[-1]
    (folder / "own.csv").write_text(_table("7,8,7,8,8,8"))
    (folder / "identities.txt").write_text("7\tAnn\n")
    report = unpack(folder / "own.bin", tmp_path / "out")
    assert report.lines() == ["4 images in 2 folders", "pairs.txt: 3 pairs"]
    assert sorted(_tree(tmp_path / "out")) == ["0000008/1.jpg", "0000008/3.jpg", "Ann/0.jpg", "Ann/2.jpg", "pairs.txt"]
    convert(tmp_path / "out", tmp_path / "back", pairs=PairList(str(tmp_path / "out" / "pairs.txt"), "own"))
    assert (tmp_path / "back" / "own.bin").read_bytes() == (folder / "own.bin").read_bytes()


def test_what_was_kept_out_comes_back_under_its_names(tmp_path):
    for i in range(40):
        path = tmp_path / "faces" / f"person{i % 10}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(i))
    convert(tmp_path / "faces", tmp_path / "data", keep_out=KeepOut(0.5, pairs=20))
    unpack(tmp_path / "data" / "kept_out.bin", tmp_path / "out")
    unpacked = {(path.parent.name, path.read_bytes()) for path in (tmp_path / "out").glob("*/*.jpg")}
    assert unpacked <= {(path.parent.name, path.read_bytes()) for path in (tmp_path / "faces").glob("*/*.jpg")}


def test_a_csv_without_all_labels_is_none(tmp_path):
    report = unpack(_written_set(tmp_path / "set", _table("1,1,2,,1,2,1,2")), tmp_path / "out")
    assert any("no own.csv beside own.bin says who is on each image" in line for line in report.lines())


def test_a_csv_that_the_pairs_contradict(tmp_path):
    report = unpack(_written_set(tmp_path / "set", _table("1,1,1,1,1,1,1,1")), tmp_path / "out")
    assert "warning: pairs that say otherwise than the column 'identity': 2" in report.lines()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("1,1,2,2,3,2,1,2", "expected one identity for a picture. Received: '1' for image 0, '3' for image 4, which"),
        ("1,1,../x,../x,1,../x,1,../x", r"expected identities that a folder can be called by. Received: '\.\./x'"),
        ("1,1,pairs.txt,pairs.txt,1,pairs.txt,1,pairs.txt", "called by. Received: 'pairs.txt'"),
        ("1,1,01,01,1,01,1,01", "expected a folder of its own for each identity. Received: one for two labels"),
        ("1,1,2", "expected a row for each of the 8 images. Received: none for image 3, 5 missing in all"),
    ],
)
def test_a_csv_that_names_no_folders(tmp_path, labels, message):
    _refused(_written_set(tmp_path / "set", _table(labels)), message)


def test_images_that_the_index_lacks_are_said_or_refused(data, tmp_path):
    lines = (data / "train.idx").read_text().splitlines(keepends=True)
    (data / "train.idx").write_text("".join(lines[:2] + lines[4:]))
    lost = int(lines[4].split()[1]) - int(lines[2].split()[1])
    report = unpack(data / "train.rec", tmp_path / "out")
    assert report.lines() == [
        "4 images in 2 folders",
        f"1 record with images behind that train.idx has no line for, {lost:,} bytes left out: 1",
        "property says 3 identities, and the images have 2 labels",
    ]
    (data / "train.idx").write_text("".join(lines[1:5]))
    _refused(data / "train.rec", "4 lines, and none for the last")


def test_identities_that_property_announces_and_labels_that_float32_cannot_hold(data, tmp_path):
    (data / "property").write_text("40,112,112")
    report = unpack(data / "train.rec", tmp_path / "out")
    assert report.remarks == ("property says 40 identities, and the images have 3 labels",)
    (tmp_path / "large").mkdir()
    write_records(tmp_path / "large", [0, 300_000_000, 300_000_032], identities=3)
    _refused(tmp_path / "large" / "train.rec", r"key 2, .* of 0 .. 2\*\*24 - 1 .* Received: 300000000")
