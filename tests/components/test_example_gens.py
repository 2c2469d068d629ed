"""Both ExampleGens through Beam: what they write, that order is seeded, and how bad input is refused."""

import io
import os
import re
import sys
import tempfile

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tfx.types import artifact_utils

from arcface_common import filesystem
from arcface_common.artifacts import RECORD_COUNTS_FILE
from arcface_common.digests import IDENTITIES_FILE, IMAGE_DIGESTS_FILE, image_digests
from arcface_common.errors import DataError
from components.content_digest import InputChangedError
from components.example_gen_base import begin_examples
from components.formats import recordio
from components.formats.recordio import read_dataset
from components.pair_example_gen.executor import PairExampleGenExecutor
from components.record_example_gen.executor import RecordExampleGenExecutor
from tests.components.ingests import LABELS, ingested, read, run
from tests.helpers import exif, jpeg, with_exif, write_pairs, write_records


def test_every_record_once_with_its_untouched_image(tmp_path):
    write_records(tmp_path / "data", LABELS)
    examples = ingested(tmp_path / "data", tmp_path / "out")
    parsed = read(examples, "train")
    assert sorted(e["key"] for e in parsed) == list(range(1, 41))
    assert [e["key"] for e in parsed] != list(range(1, 41))  # shuffled
    for e in parsed:
        assert e["label"] == LABELS[e["key"] - 1]
        assert e["image"] == jpeg(e["key"] - 1)
    shards = sorted(os.listdir(tmp_path / "out" / "Split-train"))
    assert shards == [f"data-0000{i}-of-00003.tfrecord" for i in range(3)]
    assert examples.get_int_custom_property("records") == 40
    assert examples.get_int_custom_property("identities") == 8
    assert examples.get_int_custom_property("bytes") == sum(len(jpeg(i)) for i in range(40))
    assert not (tmp_path / "out" / "unfinished").exists()


def test_the_seed_determines_the_order(tmp_path):
    write_records(tmp_path / "data", LABELS)

    def keys(seed, out):
        return [e["key"] for e in read(ingested(tmp_path / "data", tmp_path / out, seed=seed), "train")]

    assert keys(1, "a") == keys(1, "b")
    assert keys(1, "c") != keys(2, "d")


def test_a_missing_index_is_rebuilt(tmp_path):
    write_records(tmp_path / "data", LABELS)
    with_index = read(ingested(tmp_path / "data", tmp_path / "a"), "train")
    (tmp_path / "data" / "train.idx").unlink()
    assert read(ingested(tmp_path / "data", tmp_path / "b"), "train") == with_index


@pytest.mark.parametrize(
    "labels, announced, said",
    [
        (LABELS, 9, "9 identities announced, and 8 labels in the images"),
        ([5 + 3 * label for label in LABELS], 8, "7 identity records without an image"),
        ([i % 8 for i in range(40)], 8, "7 identity records whose images another one claims, too: 42, 43, 44, ..."),
    ],
    ids=["an identity without images", "labels with gaps", "an unsorted list"],
)
def test_the_images_own_labels_decide_and_what_the_header_says_beside_is_said(
    tmp_path, capsys, labels, announced, said
):
    write_records(tmp_path / "data", labels, identities=announced)
    examples = ingested(tmp_path / "data", tmp_path / "out", holdout=0.1, min_images_per_identity=2)
    found = {e["key"]: e["label"] for split in ("train", "holdout") for e in read(examples, split)}
    assert found == dict(enumerate(labels, 1))
    assert examples.get_int_custom_property("identities") == 8
    assert examples.get_int_custom_property("train_records") == 36
    assert examples.get_int_custom_property("holdout_records") == 4
    assert f"train.rec: {said}" in capsys.readouterr().err


def test_a_set_whose_header_and_labels_agree_is_remarked_on_in_no_word(tmp_path, capsys):
    write_records(tmp_path / "data", LABELS)
    ingested(tmp_path / "data", tmp_path / "out")
    assert "train.rec" not in capsys.readouterr().err


def test_what_property_says_beside_the_labels_is_said(tmp_path, capsys):
    write_records(tmp_path / "data", LABELS)
    (tmp_path / "data" / "property").write_text("40,112,112")
    ingested(tmp_path / "data", tmp_path / "out")
    assert "train.rec: property says 40 identities, and the images have 8 labels" in capsys.readouterr().err


def test_images_that_were_skipped_when_the_file_was_written_are_said(tmp_path, capsys):
    write_records(tmp_path / "data", LABELS)
    index = (tmp_path / "data" / "train.idx").read_text().splitlines(keepends=True)
    (tmp_path / "data" / "train.idx").write_text("".join(x for x in index if int(x.split()[0]) not in (5, 40)))
    examples = ingested(tmp_path / "data", tmp_path / "out")
    assert sorted(e["key"] for e in read(examples, "train")) == [k for k in range(1, 40) if k != 5]
    said = capsys.readouterr().err
    assert "2 image keys that the header record announces, missing: 5, 40" in said
    assert re.search(r"2 records with images behind that train.idx has no line for, [\d,]+ bytes left out: 4, 39", said)


@pytest.mark.parametrize("labels", [1, 2])
def test_images_without_a_line_of_the_index_are_said(tmp_path, capsys, labels):
    """im2rec's form, also with a vector of labels an image, which is read another way."""
    data = tmp_path / "data"
    data.mkdir()
    with recordio.RecordWriter(data / "train.rec") as writer:
        records = [recordio.Record((float(i // 5),) * labels, i, 0, jpeg(i)) for i in range(40)]
        offsets = [writer.append(recordio.pack(record)) for record in records]
    named = [key for key in range(40) if key not in (5, 6, 7, 30)]
    recordio.write_index(str(data / "train.idx"), named, np.array(offsets)[named])
    examples = ingested(data, tmp_path / "out")
    assert sorted(e["key"] for e in read(examples, "train")) == named
    lost = offsets[8] - offsets[5] + offsets[31] - offsets[30]
    remark = f"2 records with images behind that train.idx has no line for, {lost:,} bytes left out: 4, 29"
    assert f"train.rec: {remark}" in capsys.readouterr().err
    recordio.write_index(str(data / "train.idx"), range(20), offsets[:20])
    with pytest.raises(DataError, match=r"train\.idx, key 19, .*20 lines, and none for the last"):
        ingested(data, tmp_path / "cut")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_images_are_handed_on_upright(tmp_path, monkeypatch, capsys, kind):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg(3))).save(buffer, kind)
    lying = {4: with_exif(buffer.getvalue(), exif(6)), 9: with_exif(buffer.getvalue(), exif(1))}
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: lying.get(seed) or jpeg(seed))
    write_records(tmp_path / "data", LABELS)
    examples = ingested(tmp_path / "data", tmp_path / "out")
    images = {e["key"]: e["image"] for e in read(examples, "train")}
    expected = cv2.imdecode(np.frombuffer(lying[4], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(tf.io.decode_png(images[5]).numpy(), expected)
    assert images[10] == lying[9]
    assert images[6] == jpeg(5)
    assert examples.get_int_custom_property("turned") == 1
    assert "train.rec: 1 images turned as their EXIF orientation says" in capsys.readouterr().err


def test_small_identities_are_left_out_and_images_held_out(tmp_path):
    labels = [0] * 2 + [1] * 10 + [2] * 5 + [3] * 10
    write_records(tmp_path / "data", labels)
    examples = ingested(tmp_path / "data", tmp_path / "out", min_images_per_identity=5, holdout=0.2)
    train, held = read(examples, "train"), read(examples, "holdout")
    assert len(held) == 5
    assert sorted(e["key"] for e in train + held) == list(range(3, 28))
    assert artifact_utils.decode_split_names(examples.split_names) == ["train", "holdout"]
    for name, value in (("records", 25), ("identities", 3), ("left_out_identities", 1), ("left_out_images", 2)):
        assert examples.get_int_custom_property(name) == value


def test_without_a_header_identities_come_from_the_labels(tmp_path):
    write_records(tmp_path / "data", [7] * 3 + [9] * 6)
    layout = read_dataset(str(tmp_path / "data"))
    rows = zip(layout.image_keys.tolist(), layout.image_offsets.tolist(), strict=True)
    (tmp_path / "data" / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in rows))
    examples = ingested(tmp_path / "data", tmp_path / "out", min_images_per_identity=4)
    assert sorted(e["label"] for e in read(examples, "train")) == [9] * 6


def test_what_the_training_set_holds_lies_beside_the_splits(tmp_path):
    write_records(tmp_path / "data", LABELS)
    examples = ingested(tmp_path / "data", tmp_path / "out")
    digests = np.load(tmp_path / "out" / IMAGE_DIGESTS_FILE)
    np.testing.assert_array_equal(digests, np.sort(image_digests(jpeg(i) for i in range(40))))
    np.testing.assert_array_equal(np.load(tmp_path / "out" / IDENTITIES_FILE), np.arange(8))
    assert len(examples.get_string_custom_property("content_digest")) == 32


class _Killed(Exception):
    """Stands for the end of the process: nothing of ours catches it."""


def test_a_second_try_redoes_no_finished_shard(tmp_path, monkeypatch):
    write_records(tmp_path / "data", LABELS)
    work = tmp_path / "work"
    link = filesystem.link

    def die(source, target):
        raise _Killed

    monkeypatch.setattr(filesystem, "link", die)
    with pytest.raises(_Killed):
        ingested(tmp_path / "data", tmp_path / "first", work=str(work))
    monkeypatch.setattr(filesystem, "link", link)
    finished = {path.name: path.stat().st_ino for path in work.rglob("*.tfrecord")}
    assert len(finished) == 3
    lost = next(work.rglob("*00001-of-00003.tfrecord"))
    lost.write_bytes(lost.read_bytes()[:-1])  # its name survived, and not all of its bytes
    examples = ingested(tmp_path / "data", tmp_path / "second", work=str(work))
    again = {path.name: path.stat().st_ino for path in (tmp_path / "second" / "Split-train").iterdir()}
    assert {name for name in finished if finished[name] != again[name]} == {lost.name}
    assert sorted(e["key"] for e in read(examples, "train")) == list(range(1, 41))
    assert not list(work.rglob("ingest-*"))


def test_the_output_may_lie_on_another_file_system_than_the_shards(tmp_path):
    """As on Kubeflow: shards on a volume, the output in the launcher's folder."""
    write_records(tmp_path / "data", LABELS)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        assert os.stat(work).st_dev != tmp_path.stat().st_dev
        examples = ingested(tmp_path / "data", tmp_path / "out", work=work)
        assert not os.listdir(work)
    assert sorted(e["key"] for e in read(examples, "train")) == list(range(1, 41))
    assert sorted(os.listdir(tmp_path / "out")) == sorted(
        ["Split-train", IDENTITIES_FILE, IMAGE_DIGESTS_FILE, RECORD_COUNTS_FILE]
    )


def test_other_data_or_settings_take_nothing_from_an_interrupted_run(tmp_path, monkeypatch):
    write_records(tmp_path / "data", LABELS)
    monkeypatch.setattr("components.record_example_gen.executor._publish", lambda *_: (_ for _ in ()).throw(_Killed()))
    seen = []
    for labels, seed in ((LABELS, 1), (LABELS, 2), ([*LABELS, 7], 1)):
        write_records(tmp_path / "data", labels)
        with pytest.raises(_Killed):
            ingested(tmp_path / "data", tmp_path / f"out{seed}{len(labels)}", work=str(tmp_path / "work"), seed=seed)
        (store,) = (tmp_path / "work").glob("ingest-*")  # that of the ingest before is removed
        seen.append(store.name)
    assert len(set(seen)) == 3


def test_pairs_keep_their_order_and_bytes(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 12)
    write_pairs(tmp_path / "data", "cfp_fp", 10)
    examples = run(PairExampleGenExecutor, tmp_path / "data", tmp_path / "out", {"sets": ["lfw", "cfp_fp"]})
    assert artifact_utils.decode_split_names(examples.split_names) == ["lfw", "cfp_fp"]
    assert examples.get_int_custom_property("pairs") == 22
    assert examples.get_int_custom_property("bytes") > 44 * 3000
    parsed = read(examples, "lfw")
    assert [e["pair_index"] for e in parsed] == list(range(12))
    assert [e["is_same"] for e in parsed] == [1, 0] * 6
    assert {e["set"] for e in parsed} == {b"lfw"}
    assert parsed[3]["image_a"] == jpeg(1003)
    assert parsed[3]["image_b"] == jpeg(5003)


def test_a_missing_or_broken_set_is_named(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 10)
    options = {"sets": ["lfw", "cfp_fp"]}
    with pytest.raises(DataError, match=r"cfp_fp\.bin: expected a verification set. Received: no such file"):
        run(PairExampleGenExecutor, tmp_path / "data", tmp_path / "out", options)
    (tmp_path / "data" / "cfp_fp.bin").write_bytes((tmp_path / "data" / "lfw.bin").read_bytes()[:500])
    with pytest.raises(DataError, match=r"cfp_fp\.bin: expected a whole pickle"):
        run(PairExampleGenExecutor, tmp_path / "data", tmp_path / "out2", options)


@pytest.mark.parametrize("changed", ["train.rec", "lfw.bin"])
def test_a_file_that_changes_while_it_is_read_leaves_nothing_for_the_next_run(tmp_path, monkeypatch, changed):
    """Else what was made of the one content would be kept under the other one's key."""
    data, other, work = (tmp_path / name for name in ("data", "other", "work"))
    if changed == "train.rec":
        write_records(data, LABELS)
        write_records(other, LABELS[::-1])
        executor, options, split = RecordExampleGenExecutor, {"shards": 3}, "train"
    else:
        write_pairs(data, "lfw", 20)
        write_pairs(other, "lfw", 21)
        executor, options, split = PairExampleGenExecutor, {"sets": ["lfw"]}, "lfw"
    kept = (data / changed).read_bytes()
    module = sys.modules[executor.__module__]

    def replaced(*args):
        (data / changed).write_bytes((other / changed).read_bytes())
        return begin_examples(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "begin_examples", replaced)
        with pytest.raises(InputChangedError, match=rf"stay as they are while a run reads them \(.*{changed}.*\)"):
            run(executor, data, tmp_path / "failed", options, work=str(work))
    assert not list(work.glob("ingest-*"))
    (data / changed).write_bytes(kept)
    found = read(run(executor, data, tmp_path / "out", options, work=str(work)), split)
    assert len(found) == (40 if changed == "train.rec" else 20)
    if changed == "train.rec":
        assert all(e["label"] == LABELS[e["key"] - 1] for e in found)
