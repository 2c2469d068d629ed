"""RecordExampleGen on records that can't be used: named, or quarantined."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from arcface_common.digests import IDENTITIES_FILE
from arcface_common.errors import DataError
from components.formats.recordio import read_dataset
from tests.components.ingests import LABELS, ingested, read
from tests.helpers import jpeg, write_records


def test_an_image_of_too_many_pixels_is_a_bad_record(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: jpeg(seed, size=113 if seed == 3 else 112))
    write_records(tmp_path / "data", LABELS)
    settings = {"any_size": True, "max_image_pixels": 112 * 112}
    message = r"key 4, byte offset \d+: expected .* 1 to 12,544 pixels \(ingest.max_image_pixels\). Received: 113x113"
    with pytest.raises(DataError, match=message):
        ingested(tmp_path / "data", tmp_path / "a", **settings)
    aside = {"on_bad_record": "quarantine", "max_bad_share": 0.05}
    assert len(read(ingested(tmp_path / "data", tmp_path / "b", **settings, **aside), "train")) == 39


def test_quarantine_may_take_all_images_of_an_identity(tmp_path):
    write_records(tmp_path / "data", [*LABELS, 8])
    _damage(tmp_path / "data", 41)
    examples = ingested(tmp_path / "data", tmp_path / "out", on_bad_record="quarantine", max_bad_share=0.05)
    assert {e["label"] for e in read(examples, "train")} == set(range(8))
    assert examples.get_int_custom_property("identities") == 8
    np.testing.assert_array_equal(np.load(tmp_path / "out" / IDENTITIES_FILE), np.arange(8))


def test_a_damaged_record_is_named_with_key_and_offset_and_leaves_no_shard(tmp_path):
    write_records(tmp_path / "data", LABELS)
    offset = _damage(tmp_path / "data", 17)
    with pytest.raises(DataError, match=rf"train\.rec, key 17, byte offset {offset}: expected a record"):
        ingested(tmp_path / "data", tmp_path / "out", shards=1)
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
        ingested(tmp_path / "data", tmp_path / "out")
    assert not list((tmp_path / "out" / "Split-train").glob("*"))


@pytest.mark.parametrize(
    "label, received",
    [
        (2**24, "16777216"),
        (300_000_032, "300000032"),
        (2.0**100, "1.26765060023e\\+30"),
        (-1, "-1"),
        (0.5, "0.5"),
        (float("nan"), "nan"),
    ],
)
def test_a_label_out_of_range_is_named(tmp_path, label, received):
    labels = [*LABELS[:-1], label]
    write_records(tmp_path / "data", labels, identities=8)
    with pytest.raises(DataError, match=rf"key 40, .* a label .* of 0 .. 2\*\*24 - 1 .*\. Received: {received}$"):
        ingested(tmp_path / "data", tmp_path / "out")


def test_a_png_and_a_jpeg_with_another_header_are_fine(tmp_path, monkeypatch):
    progressive = io.BytesIO()
    Image.open(io.BytesIO(jpeg(5))).save(progressive, "JPEG", progressive=True, quality=60)
    images = {3: PNG.getvalue(), 5: progressive.getvalue(), 7: jpeg(7) + bytes(100)}
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: images.get(seed) or jpeg(seed))
    write_records(tmp_path / "data", LABELS)
    parsed = read(ingested(tmp_path / "data", tmp_path / "out", decode=True), "train")
    assert {e["key"]: e["image"] for e in parsed if e["key"] in (4, 6, 8)} == {k + 1: v for k, v in images.items()}


def test_other_sizes_are_taken_if_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: jpeg(seed, size=96))
    write_records(tmp_path / "data", LABELS)
    assert len(read(ingested(tmp_path / "data", tmp_path / "out", any_size=True), "train")) == 40


def test_damage_between_header_and_end_needs_decoding_to_be_seen(tmp_path, monkeypatch):
    whole = PNG.getvalue()
    place = whole.index(b"IDAT") + 8
    damaged = whole[:place] + bytes(8) + whole[place + 8 :]
    monkeypatch.setattr("tests.helpers.jpeg", lambda seed: damaged if seed == 3 else jpeg(seed))
    write_records(tmp_path / "data", LABELS)
    assert len(read(ingested(tmp_path / "data", tmp_path / "a"), "train")) == 40
    with pytest.raises(DataError, match="key 4, .* expected an image that decodes. Received: "):
        ingested(tmp_path / "data", tmp_path / "b", decode=True)


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
    examples = ingested(tmp_path / "data", tmp_path / "out", on_bad_record="quarantine", max_bad_share=0.05)
    assert sorted(e["key"] for e in read(examples, "train")) == [k for k in range(1, 41) if k not in (4, 17)]
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
        ingested(tmp_path / "data", tmp_path / "out", on_bad_record="quarantine", max_bad_share=0.05)


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
        ingested(without_header, tmp_path / "out")
    examples = ingested(without_header, tmp_path / "out2", on_bad_record="quarantine", max_bad_share=0.05)
    assert examples.get_int_custom_property("records") == 39
