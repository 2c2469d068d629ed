"""The set that is drawn of identities which ingest keeps out: whose images, drawn by seed, none of them trained on."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

from arcface_common.digests import IDENTITIES_FILE, IMAGE_DIGESTS_FILE, image_digests
from arcface_common.errors import DataError
from arcface_common.image_pixels import decode, to_png
from arcface_common.protocol.leaks import find_leak
from components.datasets.conversion import convert
from components.datasets.kept_out import KeepOut
from components.formats import recordio
from components.pair_example_gen.component import PairExampleGen
from components.pair_example_gen.executor import PairExampleGenExecutor
from components.record_example_gen.component import RecordExampleGen
from components.record_example_gen.executor import RecordExampleGenExecutor
from components.record_example_gen.settings import IngestSettings
from evaluator_custom.tfma_bridge.pair_examples import read_pair_examples, read_training_content
from tests.helpers import jpeg, write_pairs, write_records

pytestmark = pytest.mark.slow

IDENTITIES, IMAGES, SHARE = 40, 4, 0.5
LABELS = [i // IMAGES for i in range(IDENTITIES * IMAGES)]
ASKED = KeepOut(SHARE, pairs=60, name="verify", pairs_setting="evaluation.verify_pairs")


def _examples(executor, component, out, inputs):
    examples = standard_artifacts.Examples()
    examples.uri = str(out)
    arguments = ["--runner=FnApiRunner", "--sdk_container_image=unused"]
    context = BaseBeamExecutor.Context(beam_pipeline_args=arguments, tmp_dir=f"{out}-tmp")
    executor(context).Do(inputs, {"examples": [examples]}, dict(component.exec_properties))
    return examples


def _ingest(data, out, **settings):
    component = RecordExampleGen(str(data), IngestSettings(**{"verify_identities": SHARE, **settings}))
    return _examples(RecordExampleGenExecutor, component, out, {})


def _draw(data, records, out, asked=ASKED, sets=()):
    component = PairExampleGen(str(data), sets, drawn=asked)
    return _examples(PairExampleGenExecutor, component, out, {"records": [records]})


def _pairs(examples):
    return read_pair_examples(artifact_utils.get_split_uri([examples], "verify"), "verify")


def _bytes(examples):
    (path,) = tf.io.gfile.glob(artifact_utils.get_split_uri([examples], "verify") + "/*")
    return tf.io.gfile.GFile(path, "rb").read()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "data"
    write_records(folder, LABELS)
    return folder


@pytest.fixture(scope="module")
def records(data, tmp_path_factory):
    return _ingest(data, tmp_path_factory.mktemp("records") / "out")


def test_nothing_of_the_set_is_trained_on(data, records, tmp_path):
    examples = _draw(data, records, tmp_path / "out")
    pairs, training = _pairs(examples), read_training_content(records.uri)
    leak = find_leak(pairs.digests, pairs.identities, training)
    assert (leak.shared_images, leak.shared_pairs, leak.shared_identities) == (0, 0, 0)
    assert leak.identities == IDENTITIES * SHARE
    assert len(training.identities) == IDENTITIES * (1 - SHARE)
    counts = ("records", "train_records", "verify_records", "identities", "verify_identities")
    assert [records.get_int_custom_property(name) for name in counts] == [80, 80, 80, 20, 20]
    assert examples.get_int_custom_property("pairs") == 60


def test_each_pair_shows_whom_its_records_say(data, records, tmp_path):
    pairs = _pairs(_draw(data, records, tmp_path / "out"))
    same = []
    for pair, files in enumerate(pairs.files):
        keys = [int(name.removeprefix("key ")) for name in files.split(" / ")]
        assert [pairs.images[2 * pair], pairs.images[2 * pair + 1]] == [jpeg(key - 1) for key in keys]
        people = sorted({str(LABELS[key - 1]) for key in keys})
        assert sorted(pairs.identities[pair]) == people
        same.append(len(people) == 1)
    assert np.array(same).reshape(10, -1).sum(axis=1).tolist() == [3] * 10


def test_shards_change_no_byte_and_the_seed_does(data, records, tmp_path):
    first = _bytes(_draw(data, records, tmp_path / "a"))
    others = _ingest(data, tmp_path / "records", shards=7)
    assert _bytes(_draw(data, others, tmp_path / "b")) == first
    assert _bytes(_draw(data, records, tmp_path / "c", dataclasses.replace(ASKED, seed=2))) != first


def test_the_set_stands_beside_those_that_are_files(data, records, tmp_path):
    write_pairs(tmp_path / "data", "lfw", 10)
    examples = _draw(tmp_path / "data", records, tmp_path / "out", sets=("lfw",))
    assert json.loads(examples.split_names) == ["lfw", "verify"]
    assert examples.get_int_custom_property("pairs") == 70
    with_file, alone = (
        PairExampleGen("data", sets, drawn=ASKED).exec_properties["input_config"] for sets in (("lfw",), ())
    )
    assert [name in with_file for name in ("lfw.bin", "lfw.csv", recordio.REC_FILE)] == [True, True, False]
    assert recordio.REC_FILE in alone  # TFX's driver needs a file


def test_a_picture_that_is_trained_on_too_is_in_no_pair(tmp_path, monkeypatch, capsys):
    """And so is one that lies under two kept-out people; of one that lies twice under one, one stays."""
    chosen = KeepOut(SHARE).choose({str(i): IMAGES for i in range(IDENTITIES)}, "")
    first, second, third, *_ = (IMAGES * label for label in range(IDENTITIES) if str(label) in chosen)
    trained = next(IMAGES * label for label in range(IDENTITIES) if str(label) not in chosen)
    copies = {trained: first, second + 1: second, third: second + 2}
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: jpeg(copies.get(seed, seed)))
    write_records(tmp_path / "data", LABELS)
    records = _ingest(tmp_path / "data", tmp_path / "records")
    examples = _draw(tmp_path / "data", records, tmp_path / "out")
    images = set(_pairs(examples).images)
    assert not images & {jpeg(first), jpeg(second + 2)}
    assert np.isin(image_digests([jpeg(first)]), np.load(f"{records.uri}/{IMAGE_DIGESTS_FILE}")).all()
    said = capsys.readouterr().err
    assert (
        "verify: warning: pictures of the same bytes that are trained on under another identity, left out: 1 "
        f"(key {first + 1})" in said
    )
    assert f"under two that are kept out, left out: 1 (key {second + 3} = key {third + 1})" in said
    assert f"twice of one identity, taken once: 1 (key {second + 1} = key {second + 2})" in said


def test_run_and_convert_keep_the_same_people_out_and_most_stay_out_when_others_come(tmp_path):
    faces = tmp_path / "faces"
    for identity in range(20):
        (faces / f"person {identity:02d}").mkdir(parents=True)
        for image in range(3):
            (faces / f"person {identity:02d}" / f"{image}.jpg").write_bytes(jpeg(3 * identity + image))

    def kept(name):
        """By `run`: names, of the labels that aren't trained on."""
        convert(faces, tmp_path / name)
        labels = np.load(f"{_ingest(tmp_path / name, tmp_path / f'{name}-out', seed=1).uri}/{IDENTITIES_FILE}").tolist()
        rows = [line.split("\t") for line in (tmp_path / name / "identities.txt").read_text().splitlines()]
        return {person for label, person in rows if int(label) not in labels}

    by_convert = convert(faces, tmp_path / "both", keep_out=KeepOut(SHARE, seed=1))
    assert by_convert.kept_out.identities == 10
    rows = (tmp_path / "both" / "identities.txt").read_text().splitlines()[-10:]
    before = kept("data")
    assert before == {row.split("\t")[1] for row in rows}
    shutil.copytree(faces / "person 00", faces / "a new one")  # the first label, which moves all others
    (faces / "a new one" / "0.jpg").write_bytes(jpeg(999))
    assert len(before - kept("more")) <= 1


def test_quarantine_hold_out_and_small_identities_go_together(tmp_path, monkeypatch, capsys):
    labels = [*LABELS, IDENTITIES]  # one person with one image
    kept = KeepOut(SHARE).choose({str(i): IMAGES for i in range(IDENTITIES)}, "")
    bad, cut = (IMAGES * int(label) for label in sorted(kept)[:2])
    png = to_png(decode(jpeg(cut)))
    damaged = png[:600] + bytes(300) + png[900:]  # whole by header and end
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: {bad: b"GIF", cut: damaged}.get(seed) or jpeg(seed))
    write_records(tmp_path / "data", labels)
    aside = {"on_bad_record": "quarantine", "max_bad_share": 0.05, "min_images_per_identity": 2, "holdout": 0.1}
    records = _ingest(tmp_path / "data", tmp_path / "records", **aside)
    names = ("train_records", "holdout_records", "verify_records", "quarantined", "left_out_identities")
    assert [records.get_int_custom_property(name) for name in names] == [72, 8, 79, 1, 1]
    assert not {int(label) for label in kept} & set(np.load(f"{records.uri}/{IDENTITIES_FILE}").tolist())
    images = set(_pairs(_draw(tmp_path / "data", records, tmp_path / "out")).images)
    assert images and not images & {b"GIF", damaged}
    assert f"verify: warning: images that can't be used, left out: 1 (key {cut + 1}: " in capsys.readouterr().err


def test_images_of_other_sizes_are_judged_as_insightface_does(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: jpeg(seed, size=128))
    write_records(tmp_path / "data", LABELS)
    records = _ingest(tmp_path / "data", tmp_path / "records", any_size=True)
    examples = _draw(tmp_path / "data", records, tmp_path / "out")
    pairs = _pairs(examples)
    assert examples.get_int_custom_property("resized") == len(set(pairs.images)) > 0
    assert tf.io.decode_png(pairs.images[0]).shape == (112, 112, 3)


def test_more_pairs_than_the_images_make_are_an_error_that_names_the_setting(data, records, tmp_path):
    with pytest.raises(DataError) as caught:  # 20 people with 6 pairs of one person each
        _draw(data, records, tmp_path / "out", dataclasses.replace(ASKED, pairs=6000))
    assert str(caught.value) == (
        f"{data}: expected 6,000 pairs of the 20 identities that are kept out, half of either kind. Received: 80 "
        "images of them, which make 240 pairs at most (evaluation.verify_pairs=240); a larger verify_identities "
        "keeps out more"
    )
    as_many = _draw(data, records, tmp_path / "all", dataclasses.replace(ASKED, pairs=None))
    assert as_many.get_int_custom_property("pairs") == 60  # 2 people in a fold, and 3 pairs of both
    with pytest.raises(DataError, match="train.rec: expected at least 2 identities to keep out. Received: 0.02 of 40"):
        _ingest(data, tmp_path / "none", verify_identities=0.02)
