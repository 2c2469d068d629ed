"""Lists of pairs that `convert` takes, and what contradicts one."""

import unicodedata

import pytest
from click.testing import CliRunner

from arcface_common.errors import DataError
from components.datasets.conversion import convert
from components.datasets.pair_list import PairList
from components.formats import verification_bin
from pipeline.cli import main
from tests.components.datasets.conversions import listed, png, refused
from tests.helpers import jpeg


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
    convert(faces, tmp_path / "out", pairs=listed(faces, "Ann/Ann_0001.jpg Ann/ANN_0001.jpg 1\n"))
    assert verification_bin.read(tmp_path / "out" / "lfw.bin").images == [jpeg(0), jpeg(30)]
    with pytest.raises(DataError, match=r"line 1: expected a file .*ann_0001\.jpg. Received: no such file"):
        convert(faces, tmp_path / "other", pairs=listed(faces, "Ann/ann_0001.jpg Bo/Bo_0001.jpg 1\n"))


@pytest.mark.parametrize("first", ["2 1", "2\t1"])
def test_lfw_list(faces, tmp_path, first):
    text = f"{first}\nAnn\t1\t2\nAnn\t1\tBo\t2\nBo\t1\t2\nCy\t1\tAnn\t2\n"
    report = convert(faces, tmp_path / "out", pairs=listed(faces, text))
    found = verification_bin.read(tmp_path / "out" / "lfw.bin")
    expected = [jpeg(0), jpeg(1), jpeg(0), jpeg(11), jpeg(10), jpeg(11), png(), jpeg(1)]
    assert found.images == expected
    assert found.is_same.tolist() == [True, False, True, False]
    assert "lfw.bin: 4 pairs: 2 same, 2 different" in report.lines()
    assert report.lines()[-1].startswith("warning: 5 of the 5 images of lfw.bin are in train.rec")


def test_plain_list_of_held_out_people(faces, tmp_path):
    (tmp_path / "held out").mkdir()
    for i in range(2):
        (tmp_path / "held out" / f"{i}.jpg").write_bytes(jpeg(20 + i, size=96))
    pairs = listed(faces, "../held out/0.jpg\t../held out/1.jpg\t1\n\n../held out/0.jpg\tCy/Cy_0001.png\t0\n")
    refused(faces, r"0\.jpg, .*1\.jpg: expected 112x112", pairs=pairs)
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
        (
            "Ann Lee/1 a.jpg Ann Lee/2.jpg 1\n",
            r"line 1: expected .*of paths with blanks, tabs part the columns, or a CSV",
        ),
        ("Ann/Ann_0001.jpg Ann/Ann_0002.jpg 2\n", r'line 1: expected "path_a path_b 0\|1"'),
        ("\nAnn/Ann_0001.jpg Ann/nobody.jpg 1\n", r"line 2: expected a file .*nobody\.jpg. Received: no such file"),
    ],
)
def test_bad_lists(faces, text, pattern):
    refused(faces, pattern, pairs=listed(faces, text))


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
    refused(faces, rf"pairs\.txt, {pattern}", pairs=listed(faces, text))


def test_one_person_by_a_linked_image_is_no_other(faces):
    (faces / "Ann" / "again.jpg").symlink_to("Ann_0001.jpg")
    text = "Ann/Ann_0001.jpg Ann/again.jpg 0\n"
    refused(faces, "line 1: expected different people. Received: an image and itself", pairs=listed(faces, text))


def test_what_is_odd_about_a_list_is_said(faces, tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "a.jpg").write_bytes(jpeg(50))
    text = (
        "Ann/Ann_0001.jpg Ann/Ann_0002.jpg 1\nAnn/Ann_0002.jpg Ann/Ann_0001.jpg 1\nBo/Bo_0001.jpg Bo/Bo_0001.jpg 1\n"
        "Ann/Ann_0001.jpg Bo/Bo_0001.jpg 1\n../others/a.jpg Bo/Bo_0001.jpg 0\n"
        f"{tmp_path}/others/a.jpg Cy/Cy_0001.png 1\n"
    )
    lines = convert(faces, tmp_path / "out", pairs=listed(faces, text)).lines()
    assert lines[-4:] == [
        "warning: 1 of 6 pairs listed more than once",
        "warning: 1 of 6 pairs of an image with itself, in which every network sees one person",
        "warning: 1 of 6 pairs marked as one person, of two folders",
        f"warning: 2 of 6 pairs with an image outside of {faces}",
    ]


def test_bad_list_files(faces):
    with pytest.raises(DataError, match="expected a set's name of letters"):
        PairList("pairs.txt", "../lfw")
    refused(faces, r"nowhere\.txt: expected a list of pairs", pairs=PairList("nowhere.txt", "lfw"))
    (faces.parent / "pairs.txt").write_bytes(b"\xff\xfe\x00")
    refused(faces, "expected text in UTF-8", pairs=PairList(str(faces.parent / "pairs.txt"), "lfw"))


def test_a_set_name_that_no_file_can_have_is_refused_before_anything_is_written(faces):
    before = sorted(faces.parent.rglob("*"))
    arguments = ["convert", str(faces), str(faces.parent / "new"), "--pairs", str(faces), "--set-name", "n" * 300]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, sorted(faces.parent.rglob("*"))) == (2, before)
    with pytest.raises(DataError, match="expected a set's name of at most 100 letters"):
        PairList(str(faces / "pairs.txt"), "n" * 300)
