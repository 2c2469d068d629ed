"""Both ExampleGens through Beam: what they write, that order is seeded, and how bad input is refused."""

import io
import json
import os

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

from arcface_common import filesystem
from arcface_common.digests import IDENTITIES_FILE, IMAGE_DIGESTS_FILE, image_digests
from arcface_common.errors import DataError
from components.pair_example_gen.executor import PairExampleGenExecutor
from components.record_example_gen.executor import RecordExampleGenExecutor, read_dataset
from tests.helpers import exif, jpeg, with_exif, write_pairs, write_records

# Named, TFX packs no sdist of itself for every job (1.8 s).
BEAM = ("--runner=FnApiRunner", "--sdk_container_image=unused")
LABELS = [i // 5 for i in range(40)]


def _run(executor_class, data, out, options, beam_args=BEAM, work=""):
    examples = standard_artifacts.Examples()
    examples.uri = str(out)
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args), tmp_dir=str(out) + "-tmp")
    splits = [{"name": path.name, "pattern": path.name} for path in data.iterdir()]
    properties = {
        "input_base": str(data),
        "input_config": json.dumps({"splits": splits}),
        "options": json.dumps(options),
        "work": work,
    }
    executor_class(context).Do({}, {"examples": [examples]}, properties)
    return examples


def _read(examples, split):
    folder = artifact_utils.get_split_uri([examples], split)
    parsed = []
    for path in sorted(tf.io.gfile.glob(os.path.join(folder, "*"))):
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            parsed.append({n: (f.bytes_list.value or f.int64_list.value)[0] for n, f in features.items()})
    return parsed


def _records(data, out, beam_args=BEAM, work="", **settings):
    return _run(RecordExampleGenExecutor, data, out, {"shards": 3, **settings}, beam_args, work)


def test_every_record_once_with_its_untouched_image(tmp_path):
    write_records(tmp_path / "data", LABELS)
    examples = _records(tmp_path / "data", tmp_path / "out")
    parsed = _read(examples, "train")
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
        return [e["key"] for e in _read(_records(tmp_path / "data", tmp_path / out, seed=seed), "train")]

    assert keys(1, "a") == keys(1, "b")
    assert keys(1, "c") != keys(2, "d")


def test_a_missing_index_is_rebuilt(tmp_path):
    write_records(tmp_path / "data", LABELS)
    with_index = _read(_records(tmp_path / "data", tmp_path / "a"), "train")
    (tmp_path / "data" / "train.idx").unlink()
    assert _read(_records(tmp_path / "data", tmp_path / "b"), "train") == with_index


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
    examples = _records(tmp_path / "data", tmp_path / "out", holdout=0.1, min_images_per_identity=2)
    found = {e["key"]: e["label"] for split in ("train", "holdout") for e in _read(examples, split)}
    assert found == dict(enumerate(labels, 1))
    assert examples.get_int_custom_property("identities") == 8
    assert examples.get_int_custom_property("train_records") == 36
    assert examples.get_int_custom_property("holdout_records") == 4
    assert f"train.rec: {said}" in capsys.readouterr().err


def test_a_set_whose_header_and_labels_agree_is_remarked_on_in_no_word(tmp_path, capsys):
    write_records(tmp_path / "data", LABELS)
    _records(tmp_path / "data", tmp_path / "out")
    assert "train.rec" not in capsys.readouterr().err


def test_images_that_were_skipped_when_the_file_was_written_are_said(tmp_path, capsys):
    write_records(tmp_path / "data", LABELS)
    index = (tmp_path / "data" / "train.idx").read_text().splitlines(keepends=True)
    (tmp_path / "data" / "train.idx").write_text("".join(x for x in index if int(x.split()[0]) not in (5, 40)))
    examples = _records(tmp_path / "data", tmp_path / "out")
    assert sorted(e["key"] for e in _read(examples, "train")) == [k for k in range(1, 40) if k != 5]
    assert "2 image keys that the header record announces, missing: 5, 40" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_images_are_handed_on_upright(tmp_path, monkeypatch, capsys, kind):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg(3))).save(buffer, kind)
    lying = {4: with_exif(buffer.getvalue(), exif(6)), 9: with_exif(buffer.getvalue(), exif(1))}
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: lying.get(seed) or jpeg(seed))
    write_records(tmp_path / "data", LABELS)
    examples = _records(tmp_path / "data", tmp_path / "out")
    images = {e["key"]: e["image"] for e in _read(examples, "train")}
    expected = cv2.imdecode(np.frombuffer(lying[4], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(tf.io.decode_png(images[5]).numpy(), expected)
    assert images[10] == lying[9]
    assert images[6] == jpeg(5)
    assert examples.get_int_custom_property("turned") == 1
    assert "train.rec: 1 images turned as their EXIF orientation says" in capsys.readouterr().err


def test_an_image_of_too_many_pixels_is_a_bad_record(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: jpeg(seed, size=113 if seed == 3 else 112))
    write_records(tmp_path / "data", LABELS)
    settings = {"any_size": True, "max_image_pixels": 112 * 112}
    message = r"key 4, byte offset \d+: expected .* 1 to 12,544 pixels \(ingest.max_image_pixels\). Received: 113x113"
    with pytest.raises(DataError, match=message):
        _records(tmp_path / "data", tmp_path / "a", **settings)
    aside = {"on_bad_record": "quarantine", "max_bad_share": 0.05}
    assert len(_read(_records(tmp_path / "data", tmp_path / "b", **settings, **aside), "train")) == 39


def test_quarantine_may_take_all_images_of_an_identity(tmp_path):
    write_records(tmp_path / "data", [*LABELS, 8])
    _damage(tmp_path / "data", 41)
    examples = _records(tmp_path / "data", tmp_path / "out", on_bad_record="quarantine", max_bad_share=0.05)
    assert {e["label"] for e in _read(examples, "train")} == set(range(8))
    assert examples.get_int_custom_property("identities") == 8
    np.testing.assert_array_equal(np.load(tmp_path / "out" / IDENTITIES_FILE), np.arange(8))


def test_a_damaged_record_is_named_with_key_and_offset_and_leaves_no_shard(tmp_path):
    write_records(tmp_path / "data", LABELS)
    offset = _damage(tmp_path / "data", 17)
    with pytest.raises(DataError, match=rf"train\.rec, key 17, byte offset {offset}: expected a record"):
        _records(tmp_path / "data", tmp_path / "out", shards=1)
    assert not list((tmp_path / "out").rglob("*.tfrecord"))


PNG = io.BytesIO()
Image.new("RGB", (112, 112), (10, 20, 30)).save(PNG, "PNG")
SMALL_PNG = io.BytesIO()
Image.new("RGB", (96, 112)).save(SMALL_PNG, "PNG")


@pytest.mark.parametrize(
    "payload, expected",
    [
        (b"GIF89a", r"a JPEG or PNG image. Received: bytes 47 49"),
        (b"", r"a JPEG or PNG image. Received: bytes none"),
        (jpeg(3, size=96), r"an image of 112x112 pixels \(or ingest.any_size=true\). Received: 96x96"),
        (SMALL_PNG.getvalue(), r"an image of 112x112 pixels .* Received: 96x112"),
        (jpeg(3)[:-40], r"a whole image. Received: \d+ bytes without an end marker"),
        (PNG.getvalue()[:-12], r"a whole image. Received: \d+ bytes without an end marker"),
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xda\x00\x08" + bytes(40), r"a JPEG or PNG with its size in the header"),
        (b"\xff\xd8\xff\xe0\xff\xff" + bytes(40), r"a JPEG or PNG with its size in the header"),
    ],
    ids=["gif", "empty", "jpeg-size", "png-size", "jpeg-cut", "png-cut", "scan-first", "segment-too-long"],
)
def test_a_record_whose_image_cannot_be_used_is_named(tmp_path, monkeypatch, payload, expected):
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: payload if seed == 3 else jpeg(seed))
    write_records(tmp_path / "data", LABELS)
    with pytest.raises(DataError, match=rf"train\.rec, key 4, byte offset \d+: expected {expected}"):
        _records(tmp_path / "data", tmp_path / "out")
    assert not list((tmp_path / "out" / "Split-train").glob("*"))


@pytest.mark.parametrize(
    "label, received",
    [(2**31, "2.14748e\\+09"), (2.0**100, "1.26765e\\+30"), (-1, "-1"), (0.5, "0.5"), (float("nan"), "nan")],
)
def test_a_label_out_of_range_is_named(tmp_path, label, received):
    labels = [*LABELS[:-1], label]
    write_records(tmp_path / "data", labels, identities=8)
    with pytest.raises(DataError, match=rf"key 40, .* expected a label .* of 0 .. 2.*31 - 1. Received: {received}$"):
        _records(tmp_path / "data", tmp_path / "out")


def test_a_png_and_a_jpeg_with_another_header_are_fine(tmp_path, monkeypatch):
    progressive = io.BytesIO()
    Image.open(io.BytesIO(jpeg(5))).save(progressive, "JPEG", progressive=True, quality=60)
    images = {3: PNG.getvalue(), 5: progressive.getvalue(), 7: jpeg(7) + bytes(100)}
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: images.get(seed) or jpeg(seed))
    write_records(tmp_path / "data", LABELS)
    parsed = _read(_records(tmp_path / "data", tmp_path / "out", decode=True), "train")
    assert {e["key"]: e["image"] for e in parsed if e["key"] in (4, 6, 8)} == {k + 1: v for k, v in images.items()}


def test_other_sizes_are_taken_if_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: jpeg(seed, size=96))
    write_records(tmp_path / "data", LABELS)
    assert len(_read(_records(tmp_path / "data", tmp_path / "out", any_size=True), "train")) == 40


def test_damage_between_header_and_end_needs_decoding_to_be_seen(tmp_path, monkeypatch):
    whole = PNG.getvalue()
    place = whole.index(b"IDAT") + 8
    damaged = whole[:place] + bytes(8) + whole[place + 8 :]
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: damaged if seed == 3 else jpeg(seed))
    write_records(tmp_path / "data", LABELS)
    assert len(_read(_records(tmp_path / "data", tmp_path / "a"), "train")) == 40
    with pytest.raises(DataError, match="key 4, .* expected an image that decodes. Received: "):
        _records(tmp_path / "data", tmp_path / "b", decode=True)


def _damage(data, key):
    """Overwrites the magic of a record; returns its byte offset."""
    layout = read_dataset(str(data))
    offset = int(layout.image_offsets[key - 1])
    with open(data / "train.rec", "r+b") as f:
        f.seek(offset)
        f.write(b"\0\0\0\0")
    return offset


def test_quarantine_writes_bad_records_aside_and_counts_them(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: jpeg(seed, size=96 if seed == 3 else 112))
    write_records(tmp_path / "data", LABELS)
    offset = _damage(tmp_path / "data", 17)
    examples = _records(tmp_path / "data", tmp_path / "out", on_bad_record="quarantine", max_bad_share=0.05)
    assert sorted(e["key"] for e in _read(examples, "train")) == [k for k in range(1, 41) if k not in (4, 17)]
    assert examples.get_int_custom_property("quarantined") == 2
    assert examples.get_int_custom_property("records") == 38
    aside = tmp_path / "out" / "quarantine"
    assert sorted(p.name for p in aside.iterdir()) == ["17.bin", "4.jpg", "records.jsonl"]
    assert (aside / "4.jpg").read_bytes() == jpeg(3, size=96)
    first, second = (json.loads(line) for line in (aside / "records.jsonl").read_text().splitlines())
    assert (first["key"], second["key"], second["offset"]) == (4, 17, offset)
    assert "expected an image of 112x112 pixels" in first["reason"]
    assert "expected a record" in second["reason"]


def test_too_many_bad_records_fail_all_the_same(tmp_path):
    write_records(tmp_path / "data", LABELS)
    for key in (3, 17, 30):
        _damage(tmp_path / "data", key)
    message = r"at most 0.05 of 40 records to be bad \(ingest.max_bad_share\). Received: 3 or more"
    with pytest.raises(DataError, match=message):
        _records(tmp_path / "data", tmp_path / "out", on_bad_record="quarantine", max_bad_share=0.05)


def test_a_truncated_file_is_refused_or_quarantined(tmp_path):
    write_records(tmp_path / "data", LABELS)
    layout = read_dataset(str(tmp_path / "data"))
    content = (tmp_path / "data" / "train.rec").read_bytes()
    without_header = tmp_path / "cut"
    without_header.mkdir()
    (without_header / "train.rec").write_bytes(content[: layout.image_offsets[-1] + 100])
    rows = zip(layout.image_keys.tolist(), layout.image_offsets.tolist(), strict=True)
    (without_header / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in rows))
    with pytest.raises(DataError, match=r"key 40, byte offset \d+: expected \d+ bytes of payload. Received: 92 bytes"):
        _records(without_header, tmp_path / "out")
    examples = _records(without_header, tmp_path / "out2", on_bad_record="quarantine", max_bad_share=0.05)
    assert examples.get_int_custom_property("records") == 39


def test_small_identities_are_left_out_and_images_held_out(tmp_path):
    labels = [0] * 2 + [1] * 10 + [2] * 5 + [3] * 10
    write_records(tmp_path / "data", labels)
    examples = _records(tmp_path / "data", tmp_path / "out", min_images_per_identity=5, holdout=0.2)
    train, held = _read(examples, "train"), _read(examples, "holdout")
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
    examples = _records(tmp_path / "data", tmp_path / "out", min_images_per_identity=4)
    assert sorted(e["label"] for e in _read(examples, "train")) == [9] * 6


def test_what_the_training_set_holds_lies_beside_the_splits(tmp_path):
    write_records(tmp_path / "data", LABELS)
    examples = _records(tmp_path / "data", tmp_path / "out")
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
        _records(tmp_path / "data", tmp_path / "first", work=str(work))
    monkeypatch.setattr(filesystem, "link", link)
    finished = {path.name: path.stat().st_ino for path in work.rglob("*.tfrecord")}
    assert len(finished) == 3
    lost = next(work.rglob("*00001-of-00003.tfrecord"))
    lost.write_bytes(lost.read_bytes()[:-1])  # its name survived, and not all of its bytes
    examples = _records(tmp_path / "data", tmp_path / "second", work=str(work))
    again = {path.name: path.stat().st_ino for path in (tmp_path / "second" / "Split-train").iterdir()}
    assert {name for name in finished if finished[name] != again[name]} == {lost.name}
    assert sorted(e["key"] for e in _read(examples, "train")) == list(range(1, 41))
    assert not list(work.rglob("ingest-*"))


def test_other_data_or_settings_take_nothing_from_an_interrupted_run(tmp_path, monkeypatch):
    write_records(tmp_path / "data", LABELS)
    monkeypatch.setattr("components.record_example_gen.executor._publish", lambda *_: (_ for _ in ()).throw(_Killed()))
    seen = []
    for labels, seed in ((LABELS, 1), (LABELS, 2), ([*LABELS, 7], 1)):
        write_records(tmp_path / "data", labels)
        with pytest.raises(_Killed):
            _records(tmp_path / "data", tmp_path / f"out{seed}{len(labels)}", work=str(tmp_path / "work"), seed=seed)
        (store,) = (tmp_path / "work").glob("ingest-*")  # that of the ingest before is removed
        seen.append(store.name)
    assert len(set(seen)) == 3


def test_pairs_keep_their_order_and_bytes(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 12)
    write_pairs(tmp_path / "data", "cfp_fp", 10)
    examples = _run(PairExampleGenExecutor, tmp_path / "data", tmp_path / "out", {"sets": ["lfw", "cfp_fp"]})
    assert artifact_utils.decode_split_names(examples.split_names) == ["lfw", "cfp_fp"]
    assert examples.get_int_custom_property("pairs") == 22
    assert examples.get_int_custom_property("bytes") > 44 * 3000
    parsed = _read(examples, "lfw")
    assert [e["pair_index"] for e in parsed] == list(range(12))
    assert [e["is_same"] for e in parsed] == [1, 0] * 6
    assert {e["set"] for e in parsed} == {b"lfw"}
    assert parsed[3]["image_a"] == jpeg(1003)
    assert parsed[3]["image_b"] == jpeg(5003)


def test_a_missing_or_broken_set_is_named(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 10)
    options = {"sets": ["lfw", "cfp_fp"]}
    with pytest.raises(DataError, match=r"cfp_fp\.bin: expected a verification set. Received: no such file"):
        _run(PairExampleGenExecutor, tmp_path / "data", tmp_path / "out", options)
    (tmp_path / "data" / "cfp_fp.bin").write_bytes((tmp_path / "data" / "lfw.bin").read_bytes()[:500])
    with pytest.raises(DataError, match=r"cfp_fp\.bin: expected a whole pickle"):
        _run(PairExampleGenExecutor, tmp_path / "data", tmp_path / "out2", options)
