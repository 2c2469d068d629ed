"""Our TFRecords against TensorFlow's own reader and protobuf's own serialization."""

import contextlib
import io

import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from arcface_common.digests import image_digest
from arcface_common.errors import DataError
from components.formats.tfrecord import TFRecordWriter, example_parts, read_records, tfrecord_aside
from components.record_example_gen.encode import train_record

NAMES = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=130)
VALUES = st.one_of(st.binary(max_size=300), st.integers(0, 2**63 - 1), st.sampled_from([127, 128, 16383, 16384]))


def _feature(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


@given(st.dictionaries(NAMES, VALUES, max_size=6))
@settings(max_examples=300, deadline=None)
def test_examples_are_protobufs_deterministic_bytes(values):
    assume(not any(a != b and b.startswith(a) for a in values for b in values))
    features = {name: _feature(value) for name, value in values.items()}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    assert b"".join(example_parts(values)) == example.SerializeToString(deterministic=True)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16383, 16384, 2097151, 2097152])
def test_lengths_around_a_varints_borders(length):
    example = tf.train.Example.FromString(b"".join(example_parts({"image": bytes(length), "label": 1})))
    assert example.features.feature["image"].bytes_list.value[0] == bytes(length)


@given(st.lists(st.lists(st.binary(max_size=50), max_size=4), max_size=8))
@settings(max_examples=50, deadline=None)
def test_tensorflow_reads_what_was_written(tmp_path_factory, records):
    path = str(tmp_path_factory.mktemp("tfrecord") / "data")
    with open(path, "wb") as file:
        writer = TFRecordWriter(file)
        for parts in records:
            writer.write(parts)
        writer.close()
    expected = [b"".join(parts) for parts in records]
    assert list(tf.data.TFRecordDataset(path).as_numpy_iterator()) == expected
    with tf.io.TFRecordWriter(path + "-tensorflow") as oracle:
        for record in expected:
            oracle.write(record)
    with open(path, "rb") as ours, open(path + "-tensorflow", "rb") as theirs:
        assert ours.read() == theirs.read()


@given(st.binary(max_size=40_000), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
@settings(max_examples=300, deadline=None)
def test_a_train_record_is_what_the_general_way_gives(image, key, label):
    general = io.BytesIO()
    with contextlib.closing(TFRecordWriter(general)) as writer:
        writer.write(example_parts({"image": image, "key": key, "label": label}))
    assert b"".join(train_record(image, image_digest(image), key, label)) == general.getvalue()


@pytest.mark.parametrize("written", [0, 10, 5000])
def test_a_reserved_file_is_as_long_as_what_was_written(tmp_path, written):
    path = tmp_path / "shard"
    with tfrecord_aside(str(path), str(tmp_path / "aside"), reserve=1000) as writer:
        writer.write([bytes(written)])
    assert path.stat().st_size == written + 16


def test_a_body_that_raises_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), tfrecord_aside(str(tmp_path / "a" / "shard"), str(tmp_path / "b")) as writer:
        writer.write([b"x"])
        raise ZeroDivisionError
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_tensorflow_writes_is_read_and_damage_is_said(tmp_path):
    path = str(tmp_path / "a.tfrecord")
    records = [b"", b"a" * 7, bytes(range(256)) * 300]
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    assert list(read_records(path)) == records
    with open(path, "rb") as file:
        content = file.read()
    for damaged in (content[:-1], content[:-4], content[:30], content[:40] + b"?" + content[41:], b"?" + content[1:]):
        with open(path, "wb") as file:
            file.write(damaged)
        with pytest.raises(DataError, match=r"a\.tfrecord: expected whole TFRecords. Received: a damaged one"):
            list(read_records(path))
