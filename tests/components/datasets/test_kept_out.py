"""Identities that stay out of training, and the set that is drawn of them: nothing of it is trained on."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arcface_common.errors import DataError
from arcface_common.image_pixels import decode, to_png
from components.datasets.conversion import convert
from components.datasets.identity_folders import find_identities
from components.datasets.inspection import inspect
from components.datasets.kept_out import KeepOut
from components.formats import recordio, verification_bin
from components.formats.pair_attributes import read_pair_attributes
from pipeline.cli.hints import own_command
from tests.helpers import ROOT, jpeg

IDENTITIES, IMAGES = 60, 4


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """60 people with 4 images each."""
    folder = tmp_path_factory.mktemp("original") / "faces"
    for identity in range(IDENTITIES):
        (folder / f"{identity:03d}").mkdir(parents=True)
        for image in range(IMAGES):
            (folder / f"{identity:03d}" / f"{image}.jpg").write_bytes(jpeg(IMAGES * identity + image))
    return folder


@pytest.fixture
def faces(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "faces"))


def _owner(faces: Path) -> dict[bytes, str]:
    """Image -> name of its folder."""
    return {path.read_bytes(): path.parent.name for path in faces.glob("*/*.jpg")}


def _trained(out: Path) -> list[bytes]:
    index = recordio.read_index(str(out / "train.idx"))
    with recordio.RecordReader(out / "train.rec") as reader:
        return [reader.read(offset).payload for offset in recordio.read_layout(reader, index).image_offsets]


def _names(out: Path) -> list[str]:
    """Label -> name."""
    rows = [line.split("\t") for line in (out / "identities.txt").read_text().splitlines()]
    assert [int(label) for label, _ in rows] == list(range(len(rows)))
    return [name for _, name in rows]


def test_nobody_is_in_both_and_everybody_in_one_fold(original, tmp_path):
    out = tmp_path / "out"
    report = convert(original, out, keep_out=KeepOut(0.5, pairs=60))
    owner = _owner(original)
    pairs = verification_bin.read(out / "kept_out.bin")
    trained = {owner[image] for image in _trained(out)}
    people = [owner[image] for image in pairs.images]
    assert not trained & set(people)
    assert (report.identities, report.images) == (30, 120) == (len(trained), len(_trained(out)))
    assert (report.kept_out.identities, report.kept_out.images) == (30, 120)
    folds = np.array(people).reshape(10, -1)
    assert sum(len(set(fold)) for fold in folds) == len(set(people))
    assert pairs.is_same.reshape(10, -1).sum(axis=1).tolist() == [3] * 10
    assert [a == b for a, b in zip(people[::2], people[1::2], strict=True)] == pairs.is_same.tolist()
    assert inspect(out).problems == []


def test_who_is_on_the_images_is_said_by_labels_that_nobody_trains(original, tmp_path):
    out = tmp_path / "out"
    convert(original, out, keep_out=KeepOut(0.5, pairs=60, name="own"))
    owner, names = _owner(original), _names(out)
    rows = list(csv.DictReader((out / "own.csv").read_text().splitlines()))
    images = verification_bin.read(out / "own.bin").images
    assert [names[int(row["identity"])] for row in rows] == [owner[image] for image in images]
    assert min(int(row["identity"]) for row in rows) >= 30
    assert set(read_pair_attributes(out / "own.csv", 60)) == {"identity", "file"}
    assert names == sorted(names[:30]) + sorted(names[30:])


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_people(original, tmp_path):
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        convert(original, tmp_path / out, keep_out=KeepOut(0.5, seed=seed))
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["identities.txt", "kept_out.bin", "kept_out.csv", "property", "train.idx", "train.rec"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert _names(tmp_path / "a")[30:] != _names(tmp_path / "c")[30:]


def test_people_who_come_later_move_few_to_the_other_side(faces, tmp_path):
    asked = KeepOut(0.5, pairs=20)
    before = asked.choose(_sizes(faces), faces)
    for number in range(6):
        shutil.copytree(faces / "000", faces / f"new{number}")
    after = asked.choose(_sizes(faces), faces)
    assert len(after) == 33
    assert len(before - after) <= 3


def test_with_all_identities_there_is_the_set_alone(original, tmp_path):
    report = convert(original, tmp_path / "out", keep_out=KeepOut(1, name="lfw"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["identities.txt", "lfw.bin", "lfw.csv"]
    # 6 people a fold have 36 pairs of one person each.
    assert report.set.pairs == 20 * 36
    assert report.lines()[0].startswith("kept out: 60 identities (240 images), nobody in two folds; 90 hard pairs")
    assert inspect(tmp_path / "out").sets[0].pairs == 720


def _kept_and_trained(faces: Path, asked: KeepOut) -> tuple[list[str], list[str]]:
    sizes = _sizes(faces)
    chosen = asked.choose(sizes, faces)
    return sorted(chosen), [name for name in sizes if name not in chosen]


def _sizes(faces: Path) -> dict[str, int]:
    return {name: len(files) for name, files in find_identities(faces).identities.items()}


def test_a_picture_of_a_kept_out_and_a_trained_identity_is_in_neither(faces, tmp_path):
    asked = KeepOut(0.5, pairs=80)
    (kept, *_), (trained, *_) = _kept_and_trained(faces, asked)
    shutil.copy(faces / kept / "2.jpg", faces / trained / "again.jpg")
    report = convert(faces, tmp_path / "out", keep_out=asked)
    shared = (faces / kept / "2.jpg").read_bytes()
    assert shared not in _trained(tmp_path / "out")
    assert shared not in verification_bin.read(tmp_path / "out" / "kept_out.bin").images
    assert report.images == 30 * IMAGES
    assert report.set.remarks == (
        "warning: pictures of the same bytes under an identity that is kept out and a trained one, left out of both: "
        f"1 ({kept}/2.jpg = {trained}/again.jpg)",
    )
    assert inspect(tmp_path / "out").problems == []


def test_a_picture_that_was_saved_again_is_another_one(faces, tmp_path):
    """As docs/how-to/data.md says: the bytes are compared, not the pixels."""
    asked = KeepOut(0.5, pairs=80)
    (kept, *_), (trained, *_) = _kept_and_trained(faces, asked)
    (faces / trained / "again.png").write_bytes(to_png(decode((faces / kept / "2.jpg").read_bytes())))
    report = convert(faces, tmp_path / "out", keep_out=asked)
    assert (report.images, report.set.remarks) == (30 * IMAGES + 1, ())


def test_copies_make_no_pairs(faces, tmp_path):
    asked = KeepOut(0.5)
    (first, second, third, *_), _ = _kept_and_trained(faces, asked)
    shutil.copy(faces / first / "0.jpg", faces / first / "0 copy.jpg")
    shutil.copy(faces / second / "1.jpg", faces / third / "its copy.jpg")
    report = convert(faces, tmp_path / "out", keep_out=asked)
    pairs = verification_bin.read(tmp_path / "out" / "kept_out.bin")
    assert all(a != b for a, b in zip(pairs.images[::2], pairs.images[1::2], strict=True))
    assert (faces / second / "1.jpg").read_bytes() not in pairs.images
    assert report.set.remarks == (
        "warning: pictures of the same bytes under two that are kept out, left out: "
        f"1 ({second}/1.jpg = {third}/its copy.jpg)",
        "warning: pictures of the same bytes twice of one identity, taken once: "
        f"1 ({first}/0 copy.jpg = {first}/0.jpg)",
    )
    assert report.kept_out.images == 30 * IMAGES - 1


def test_pairs_that_only_fit_with_people_in_several_folds_are_drawn_and_said(original, tmp_path):
    asked = KeepOut(0.2, pairs=140)
    report = convert(original, tmp_path / "out", keep_out=asked)
    assert (report.set.pairs, report.kept_out.identities) == (140, 12)
    assert report.set.remarks == (
        "warning: people occur in several of the ten folds, whose thresholds then come from people that they know; "
        "more identities can do without",
    )
    assert "nobody in two folds" not in "\n".join(report.lines())


def test_few_people_bear_few_pairs_and_more_are_a_warning(faces, tmp_path):
    """24 kept-out people are 2 or 3 in a fold, with 1 or 3 combinations of two."""
    for folder in faces.iterdir():
        for number in range(4):
            (folder / f"more{number}.jpg").write_bytes(jpeg(10_000 + 10 * int(folder.name) + number))
    usual = convert(faces, tmp_path / "usual", keep_out=KeepOut(0.4))
    assert (usual.set.pairs, usual.kept_out.identities) == (60, 24)
    assert not usual.set.remarks
    report = convert(faces, tmp_path / "many", keep_out=KeepOut(0.4, pairs=320))
    assert "nobody in two folds" in report.lines()[1]
    assert report.lines()[1].endswith("; the different pairs show 18 combinations of two people")
    assert report.set.remarks == (
        "warning: 160 pairs of different people show 18 combinations of two, 8.9 times each: figures and intervals "
        "take pairs as independent, and claim more than these people can bear; 40 people bear so many pairs, these 24 "
        "up to 60",
    )


def test_how_many_pairs_do_with_everybody_in_one_fold_is_said(faces, tmp_path):
    (kept, *_), _ = _kept_and_trained(faces, KeepOut(0.5))
    (faces / kept / "3.jpg").unlink()
    remarks = convert(faces, tmp_path / "out", keep_out=KeepOut(0.5, pairs=340)).set.remarks
    # 10 folds of 3 people with 6 pairs of one person each, but one fold lacks 3 of its 18.
    assert remarks[0].endswith("thresholds then come from people that they know; up to 300 pairs can do without")


def test_more_pairs_than_the_files_can_make_are_an_error_before_one_is_read(faces, tmp_path):
    for path in faces.glob("*/0.jpg"):
        path.write_bytes(b"text")
    with pytest.raises(DataError) as caught:
        convert(faces, tmp_path / "out", keep_out=KeepOut(0.5, pairs=6000))
    assert str(caught.value) == (
        f"{faces}: expected 6,000 pairs of the 30 identities that are kept out, half of either kind. Received: "
        "120 images of them, which make 360 pairs at most (pairs=360); a larger verify_identities keeps out more: "
        "3,000 pairs of one person are needed, and all 60 identities have 360 (60 have two images or more)"
    )
    # What bad files cost is known after reading alone, and said.
    report = convert(faces, tmp_path / "out", keep_out=KeepOut(0.5, pairs=360), skip_bad=True)
    assert report.set.pairs == 180
    assert "warning: 180 of the 360 pairs: the images make no more" in report.set.remarks


def test_fewer_pairs_do_with_everybody_in_one_fold():
    message = r"make 2,740 pairs at most \(pairs=2740; 120 with nobody in two folds\); a larger"
    with pytest.raises(DataError, match=message):
        KeepOut(0.5, pairs=6000).number(np.array([20, 3, 3] * 7), Path("faces"), exact=True)
    assert KeepOut(0.5).number(np.array([20, 3, 3] * 7), Path("faces"), exact=True) == 60


def test_one_identity_left_for_training_is_said(faces, tmp_path):
    report = convert(faces, tmp_path / "out", keep_out=KeepOut(0.99))
    assert report.lines()[:2] == [
        "train.rec: 4 images of 1 identity",
        "warning: one identity alone can't be trained on: there is nobody to tell it from",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"share": 0.0}, "share of identities must be above 0, at most 1. Received: share=0.0"),
        ({"share": float("nan")}, "above 0, at most 1. Received: share=nan"),
        ({"share": 0.5, "pairs": 50}, "pairs must be a multiple of 20, .* at most 200,000. Received: pairs=50"),
        ({"share": 0.5, "pairs": 0}, "Received: pairs=0"),
        ({"share": 0.5, "pairs": 10**9}, "Received: pairs=1000000000"),
        ({"share": 0.5, "hard": 1.5}, "hard pairs must be in 0..1. Received: hard=1.5"),
        ({"share": 0.5, "name": "../lfw"}, "expected a set's name of letters"),
        ({"share": 0.5, "name": "n" * 300}, "expected a set's name of at most 100 letters"),
    ],
)
def test_what_cannot_be_asked_for(given, message):
    with pytest.raises(DataError, match=message):
        KeepOut(**given)


def test_too_few_identities_or_images_are_said(faces, tmp_path):
    message = "faces: expected at least 2 identities to keep out. Received: 0.03 of 60: 2 of 60 identities are needed"
    with pytest.raises(DataError, match=message):
        convert(faces, tmp_path / "out", keep_out=KeepOut(0.03))
    for path in faces.glob("*/[123].jpg"):
        path.unlink()
    message = "expected 20 pairs of the 30 identities .* Received: 30 images of them, which make fewer than 20 pairs; a"
    needed = r"10 pairs of one person are needed, and all 60 identities have 0 \(0 have two images or more\)"
    with pytest.raises(DataError, match=f"{message} larger verify_identities keeps out more: {needed}"):
        convert(faces, tmp_path / "out", keep_out=KeepOut(0.5))
    assert not (tmp_path / "out").exists()


def test_how_many_identities_are_needed_is_said():
    sizes = {str(i): 2 if i % 2 else 1 for i in range(100)}
    with pytest.raises(DataError) as caught:
        KeepOut(0.02).choose(sizes, "train.rec")
    message = r"more: (\d+) of 100 identities are needed, a share of (\S+)$"
    needed, share = re.search(message, str(caught.value)).groups()
    assert int(needed) == round(100 * float(share)) > 10
    assert sum(sizes[name] == 2 for name in KeepOut(float(share)).choose(sizes, "train.rec")) == 10
    with pytest.raises(DataError, match="fewer than 20 pairs"):
        KeepOut(float(share) - 0.01).choose(sizes, "train.rec")


def test_a_share_is_counted_as_a_person_counts():
    assert len(KeepOut(0.29).choose({f"{i:03d}": 9 for i in range(100)}, "faces")) == 29  # 0.29 * 100 is 28.999...


def _convert(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "convert", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_command_says_how_to_judge_by_it(original, tmp_path):
    out = tmp_path / "my faces"
    command = [str(original), str(out), "--verify-identities", "0.5", "--pairs", "60", "--seed", "3"]
    done = _convert(*command, "--hard", "0.5")
    assert done.returncode == 0, done.stderr
    command = own_command()
    assert done.stdout.splitlines() == [
        "train.rec: 120 images of 30 identities",
        "kept out: 30 identities (120 images), nobody in two folds; 20 hard pairs (the most alike of 100 by "
        "thumbnail); the different pairs show 22 combinations of two people",
        "kept_out.bin: 60 pairs: 30 same, 30 different",
        f"{out}: written",
        f"judge by it:         {command} evaluate sets MODEL --data '{out}' --sets kept_out",
        f"train and judge:     {command} run --data '{out}' --init-from MODEL --set "
        "'evaluation.conditions=[kept_out.accuracy >= 0.95, kept_out.leaks <= 0]'",
        "                     (--preset instead of --init-from trains anew: `presets` lists them)",
    ]
    refused = {
        ("--pairs", "pairs.txt"): "--pairs: expected a number of pairs with --verify-identities. Received: 'pairs.txt'",
        ("--pairs", "50"): "pairs must be a multiple of 20",
        ("--verify-identities", "0"): "'--verify-identities': 0.0 is not in the range 0<x<=1",
    }
    for words, message in refused.items():
        done = _convert(str(original), str(tmp_path / "no"), "--verify-identities", "0.5", *words)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    done = _convert(str(original), str(tmp_path / "no"), "--seed", "1")
    assert (done.returncode, "--hard and --seed go with --verify-identities" in done.stderr) == (2, True)
