import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from arcface_common.errors import DataError
from arcface_common.features import IMAGE_SIZE, VERIFICATION_SETS
from components.datasets.synthetic import (
    Condition,
    Identity,
    SyntheticSpec,
    Variation,
    draw,
    write_dataset,
    write_sheet,
)
from components.datasets.synthetic import dataset as dataset_module
from components.datasets.synthetic.dataset import PAIR_VARIATIONS, TRAIN_VARIATION, draw_images
from components.datasets.synthetic.geometry import TEMPLATE, Pose, curve
from components.datasets.synthetic.shape import landmarks, shape
from components.datasets.synthetic.sheet import write_samples
from components.formats import verification_bin
from components.formats.recordio import RecordReader, read_index, read_layout
from tests.helpers import ROOT

SPEC = SyntheticSpec(identities=3, images_per_identity=4, pairs=40, seed=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "faces"
    assert write_dataset(path, SPEC, processes=1) == "written"
    return path


def digests(path: Path) -> dict[str, str]:
    return {x.name: hashlib.sha256(x.read_bytes()).hexdigest() for x in sorted(path.iterdir())}


def picture(seed: int, variation: Variation = TRAIN_VARIATION) -> tuple[Identity, Condition]:
    rng = np.random.default_rng(seed)
    return Identity.draw(rng), Condition.draw(rng, variation)


def test_the_files_are_insightfaces(folder: Path) -> None:
    assert sorted(digests(folder)) == sorted(
        ["train.rec", "train.idx", "property", "synthetic.json", *(f"{x}.bin" for x in VERIFICATION_SETS)]
    )
    assert (folder / "property").read_text() == "3,112,112"
    index = read_index(str(folder / "train.idx"))
    with RecordReader(folder / "train.rec") as reader:
        header = reader.read(0, key=0)
        assert (header.labels, header.id, header.payload) == ((13.0, 16.0), 0, b"")
        layout = read_layout(reader, index)
        assert layout.identity_ranges.tolist() == [[1, 4], [5, 8], [9, 12]]
        for key, offset in zip(layout.image_keys.tolist(), layout.image_offsets, strict=True):
            record = reader.read(offset, key=key)
            assert (record.vector, record.labels, record.id) == (False, ((key - 1) // 4,), key)
            with Image.open(io.BytesIO(record.payload)) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (IMAGE_SIZE, IMAGE_SIZE))
        identity = reader.read(index.offsets[13], key=13)
        assert (identity.vector, identity.labels, identity.id) == (True, (1.0, 5.0), 13)


def test_folds_are_balanced_and_share_nobody(folder: Path) -> None:
    seen: set[bytes] = set()
    for name in VERIFICATION_SETS:
        found = verification_bin.read(folder / f"{name}.bin")
        assert found.is_same.tolist() == [True, True, False, False] * 10
        for fold in range(10):
            images = set(found.images[8 * fold : 8 * fold + 8])
            assert len(images) == 4 and not images & seen
            seen |= images


def test_people_of_the_sets_are_never_trained_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    people: list[Identity] = []
    monkeypatch.setattr(dataset_module, "encode", lambda who, _: people.append(who) or b"\xff\xd8\xff%d" % len(people))
    write_dataset(tmp_path / "faces", SPEC, processes=1)
    trained = set(people[: SPEC.num_images])
    assert len(trained) == SPEC.identities
    assert len(set(people[SPEC.num_images :])) == len(VERIFICATION_SETS) * SPEC.pairs // 2
    assert not trained & set(people[SPEC.num_images :])


def test_the_bytes_do_not_depend_on_the_processes(folder: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "faces", SPEC, processes=2)
    assert digests(tmp_path / "faces") == digests(folder)


def test_another_seed_draws_other_people(folder: Path) -> None:
    images = {x: draw_images(dataclasses.replace(SPEC, seed=x), 0, 0, [TRAIN_VARIATION]) for x in (7, 8)}
    assert images[7] != images[8]
    with RecordReader(folder / "train.rec") as reader:
        first = reader.read(read_index(str(folder / "train.idx")).offsets[1])
    assert [first.payload] == images[7]


def test_a_finished_folder_is_left_alone(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "faces"
    shutil.copytree(folder, copy)
    times = {x: x.stat().st_mtime_ns for x in copy.iterdir()}
    assert write_dataset(copy, SPEC, processes=1) == "unchanged"
    assert {x: x.stat().st_mtime_ns for x in copy.iterdir()} == times
    (copy / "lfw.bin").write_bytes(b"damaged")
    assert write_dataset(copy, SPEC, processes=1) == "written"
    assert digests(copy) == digests(folder)
    assert write_dataset(copy, dataclasses.replace(SPEC, identities=2), processes=1) == "written"
    assert (copy / "property").read_text() == "2,112,112"
    assert [x.name for x in tmp_path.iterdir()] == ["faces"]


@pytest.mark.parametrize("name", ["train.rec", "synthetic.json"])
def test_somebody_elses_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(DataError, match="expected no such folder.*Received: a folder of something else"):
        write_dataset(tmp_path, SPEC)
    with pytest.raises(DataError, match="Received: a file"):
        write_dataset(tmp_path / name, SPEC)
    assert (tmp_path / name).read_text() == "mine"


def test_what_a_user_put_beside_it_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "faces"
    shutil.copytree(folder, mine)
    (mine / "notes.txt").write_text("mine")
    for spec in (SPEC, dataclasses.replace(SPEC, seed=8)):
        with pytest.raises(DataError, match="nothing in it but what was drawn.* Received: 'notes.txt'$"):
            write_dataset(mine, spec)
    assert digests(mine).items() > digests(folder).items()
    (mine / "notes.txt").unlink()
    with open(mine / "lfw.bin", "ab") as file:
        file.write(b"mine")
    with pytest.raises(DataError, match="nothing in it but what was drawn.* Received: 'lfw.bin'$"):
        write_dataset(mine, dataclasses.replace(SPEC, seed=8))


def test_a_failure_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dataset_module, "encode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_dataset(tmp_path / "faces", SPEC, processes=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identities": 1}, "identities must be an integer of at least 2. Received: identities=1"),
        ({"images_per_identity": 2.5}, "images_per_identity=2.5"),
        ({"pairs": 50}, "pairs must be a multiple of 20, at least 40. Received: pairs=50"),
        ({"pairs": 20}, "pairs must be a multiple of 20, at least 40. Received: pairs=20"),
        ({"pairs": 100_020}, "pairs must be at most 100,000. Received: pairs=100020"),
        (
            {"images_per_identity": 1001},
            "images_per_identity must be at most 1,000. Received: images_per_identity=1001",
        ),
        ({"seed": -1}, "seed=-1"),
        ({"seed": True}, "seed=True"),
        ({"identities": 2**20, "images_per_identity": 16}, "below 2"),
    ],
)
def test_a_spec_that_cannot_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticSpec(**change)
    with pytest.raises(ValueError, match="processes=0"):
        write_dataset("nowhere", SPEC, processes=0)


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_every_face_can_be_drawn(seed: int) -> None:
    who, how = picture(seed)
    image = draw(who, how)
    assert (image.size, image.mode) == ((IMAGE_SIZE, IMAGE_SIZE), "RGB")
    assert image.tobytes() == draw(who, how).tobytes()
    assert np.asarray(image).std() > 4


def test_landmarks_lie_near_the_template() -> None:
    """As a similarity leaves them: 2 to 4 pixels off (the nose most, when the head nods), never far off."""
    errors = []
    for seed in range(100):
        who, how = picture(seed, Variation(yaw=(0, 10)))
        points = landmarks(shape(who, how))
        angles = tuple(np.radians([how.yaw, how.pitch, how.roll]))
        pose = Pose.aligned(angles, points, np.array(how.jitter))
        errors.append(np.linalg.norm(pose.project(points) - TEMPLATE, axis=1))
    assert np.mean(errors, axis=0).max() < 5
    assert np.max(errors) < 15


def test_turning_is_no_affine_warp() -> None:
    """The tip of the nose leaves the line that the eyes and the mouth's corners would move it to."""
    who, how = picture(1)
    points = landmarks(shape(who, how))
    placed = [Pose.aligned((x, 0.0, 0.0), points, np.zeros((5, 2))).project(points) for x in (0.0, 0.7)]
    rest = np.array([0, 1, 3, 4])
    design = np.concatenate([placed[0], np.ones((5, 1))], 1)
    affine = np.linalg.lstsq(design[rest], placed[1][rest], rcond=None)[0]
    assert np.abs(design[2] @ affine - placed[1][2])[0] > 5


def test_a_curve_passes_its_points() -> None:
    points = np.array([[0.0, 0], [1, 2], [3, 1]])
    np.testing.assert_allclose(curve(points)[::6], points, atol=1e-12)


def test_the_sets_differ_in_what_they_test() -> None:
    assert tuple(PAIR_VARIATIONS) == VERIFICATION_SETS
    profile, frontal = PAIR_VARIATIONS["cfp_fp"][1], PAIR_VARIATIONS["cfp_ff"][1]
    assert profile.yaw[0] > frontal.yaw[1]
    young, old = PAIR_VARIATIONS["agedb_30"]
    assert old.years[0] - young.years[1] >= 20


def test_age_shows() -> None:
    who, how = picture(3, Variation(yaw=(0, 1), covered=0.0))
    how = dataclasses.replace(how, cap=False, noise=0.0, blur=0.0, saturation=1.0, other_cut="short")
    who = dataclasses.replace(who, age=30.0, hair=(30.0, 26.0, 28.0), greying=1.0)
    young, old = (np.asarray(draw(who, dataclasses.replace(how, years=x)), np.float64) for x in (0.0, 45.0))
    assert old[:12, 40:72].mean() > young[:12, 40:72].mean() + 20


def test_a_contact_sheet(folder: Path, tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.png", SPEC, identities=2, images=3)
    with Image.open(tmp_path / "sheet.png") as sheet, RecordReader(folder / "train.rec") as reader:
        assert sheet.size == (3 * 116 + 4, 2 * 116 + 4)
        first = reader.read(read_index(str(folder / "train.idx")).offsets[1])
        shown = np.asarray(sheet.crop((4, 4, 116, 116)))
        np.testing.assert_array_equal(shown, np.asarray(Image.open(io.BytesIO(first.payload))))


def test_samples_are_of_people_in_no_set(folder: Path, tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", SPEC, identities=2, images=2)
    samples = {path.name: path.read_bytes() for path in (tmp_path / "samples").iterdir()}
    assert sorted(samples) == ["person1-a.jpg", "person1-b.jpg", "person2-a.jpg", "person2-b.jpg"]
    published = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not [name for name, data in samples.items() if data in published]


def test_importing_it_costs_no_tensorflow() -> None:
    script = (
        "import sys, components.datasets.synthetic\n"
        "print([x for x in ('tensorflow', 'cv2', 'scipy') if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_READ = """
import json, mxnet as mx
file = mx.recordio.MXIndexedRecordIO("train.idx", "train.rec", "r")
header, _ = mx.recordio.unpack(file.read_idx(0))
labels = []
for key in range(1, int(header.label[0])):
    record, image = mx.recordio.unpack(file.read_idx(key))
    assert mx.image.imdecode(image).shape == (112, 112, 3)
    labels.append(record.label)
ranges = [mx.recordio.unpack(file.read_idx(k))[0].label.tolist() for k in range(*map(int, header.label))]
print(json.dumps([labels, ranges]))
"""


@pytest.mark.parametrize(
    ("to", "after"), [("one", 2.0), ("group", 0.1), ("group", 1.0), ("group", 2.0), ("group-twice", 1.5)]
)
@pytest.mark.parametrize(
    ("name", "code", "said"), [("SIGTERM", 143, ""), ("SIGHUP", 129, ""), ("SIGINT", 130, "interrupted")]
)
def test_a_signal_ends_its_processes_without_a_word_and_leaves_nothing(
    name: str, code: int, said: str, to: str, after: float, tmp_path: Path
) -> None:
    """`timeout` and a terminal signal the group, processes that are about to begin among it."""
    program = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from pipeline.__main__ import main
print("ready", flush=True)
main()
"""
    words = ["synth", str(tmp_path / "faces"), "--identities", "4000000", "--images", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        for _ in range(2 if to == "group-twice" else 1):
            (os.kill if to == "one" else os.killpg)(process.pid, signal.Signals[name])
        try:
            told = process.communicate(timeout=30)[1]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    # Before and after there is something to clean up, others than SIGINT do what they do of themselves.
    assert process.returncode in ({code, -signal.Signals[name]} if name != "SIGINT" else {code})
    assert [line for line in told.splitlines() if "img/s" not in line and line] == [said] * bool(said)
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_lost_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """Of two that can't begin, since Python finds no program to import: multiprocessing's pool would start more."""
    program = """
import pathlib, sys
from components.datasets.synthetic.dataset import SyntheticSpec, write_dataset
write_dataset(pathlib.Path(sys.argv[1]), SyntheticSpec(identities=20), processes=2)
"""
    call = [sys.executable, "-", str(tmp_path / "faces")]
    done = subprocess.run(call, cwd=ROOT, input=program, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == (
        "arcface_common.lasting_pool.ProcessLostError: one of 2 processes could not begin or was killed, for want of "
        "memory perhaps. Nothing is left of the folder"
    )
    assert not list(tmp_path.iterdir())


def test_mxnet_reads_it(folder: Path, mxnet_python: Path) -> None:
    done = subprocess.run([str(mxnet_python), "-c", _READ], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    labels, ranges = json.loads(done.stdout.splitlines()[-1])
    assert labels == [0.0] * 4 + [1.0] * 4 + [2.0] * 4
    assert ranges == [[1, 5], [5, 9], [9, 13]]
