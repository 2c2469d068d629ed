"""The training input: a function of (seed, epoch, step), the same images on one worker or several."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from components.example_gen_base import serialized_example
from tests.helpers import jpeg
from trainer_module.images import decode
from trainer_module.input_pipeline import training_batches
from trainer_module.preprocessing import preprocessing_fn
from trainer_module.settings import TrainSettings

LABELS = [100, 7, 7, 300, 300, 300, 7, 300] * 3  # gaps, as in a cleaned list
SETTINGS = TrainSettings(batch_size=8, flip=False, shuffle_buffer=6, seed=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three shards of 8 Examples, and Transform's output for them."""
    import apache_beam as beam

    folder = tmp_path_factory.mktemp("input")
    for shard in range(3):
        with tf.io.TFRecordWriter(str(folder / f"data-{shard:05d}-of-00003.tfrecord")) as writer:
            for i in range(shard * 8, shard * 8 + 8):
                writer.write(serialized_example({"image": jpeg(i), "label": LABELS[i], "key": i + 1}))
    spec = {
        "image": tf.io.FixedLenFeature([1], tf.string),
        "label": tf.io.FixedLenFeature([1], tf.int64),
        "key": tf.io.FixedLenFeature([1], tf.int64),
    }
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    rows = [{"image": [jpeg(i)], "label": [label], "key": [i + 1]} for i, label in enumerate(LABELS)]
    graph = str(folder / "graph")
    with beam.Pipeline(runner="FnApiRunner") as pipeline, tft_beam.Context(temp_dir=str(folder / "tmp")):
        dataset = (pipeline | beam.Create(rows), metadata)
        transform_fn = dataset | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = transform_fn | tft_beam.WriteTransformFn(graph)
        _ = metadata | tft_beam.WriteMetadata(f"{graph}/metadata", pipeline=pipeline)  # as TFX's Transform does
    return [str(folder / "*.tfrecord")], graph


def _take(dataset, batches):
    taken = list(dataset.take(batches).as_numpy_iterator())
    return np.concatenate([pixels for pixels, _ in taken]), np.concatenate([index for _, index in taken])


def _which(pixels):
    """The number of each image, found by its pixels."""
    known = {decode(jpeg(i)).numpy().tobytes(): i for i in range(len(LABELS))}
    return [known[image.tobytes()] for image in pixels]


def test_an_epoch_holds_every_image_once_with_its_class(data):
    pixels, classes = _take(training_batches(*data, SETTINGS), 3)
    assert pixels.dtype == np.uint8
    order = _which(pixels)
    assert sorted(order) == list(range(24))
    vocabulary = [int(v) for v in tft.TFTransformOutput(data[1]).vocabulary_by_name("identity")]
    assert set(vocabulary) == set(LABELS)
    assert [vocabulary[c] for c in classes] == [LABELS[i] for i in order]


def test_epochs_differ_and_runs_do_not(data):
    first, _ = _take(training_batches(*data, SETTINGS), 6)
    again, _ = _take(training_batches(*data, SETTINGS), 6)
    np.testing.assert_array_equal(first, again)
    order = _which(first)
    assert order[:24] != order[24:]
    assert sorted(order[24:]) == list(range(24))


def test_resuming_is_skipping(data):
    settings = TrainSettings(batch_size=8, flip=True, shuffle_buffer=6, seed=5)
    whole, _ = _take(training_batches(*data, settings), 6)
    rest, _ = _take(training_batches(*data, settings, first_step=2), 4)
    np.testing.assert_array_equal(rest, whole[16:])


def test_two_workers_see_what_one_would(data):
    settings = TrainSettings(batch_size=8, flip=True, shuffle_buffer=6, seed=5)
    whole, _ = _take(training_batches(*data, settings), 3)
    parts = [
        _take(training_batches(*data, settings, tf.distribute.InputContext(2, worker, 2)), 3)[0] for worker in (0, 1)
    ]
    assert parts[0].shape == parts[1].shape == (12, 112, 112, 3)
    np.testing.assert_array_equal(np.stack(parts, axis=1).reshape(whole.shape), whole)


def test_half_of_the_images_are_mirrored(data):
    plain, _ = _take(training_batches(*data, SETTINGS), 12)
    flipped, _ = _take(training_batches(*data, TrainSettings(**{**SETTINGS.to_dict(), "flip": True})), 12)
    changed = [not np.array_equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    assert 0.3 < np.mean(changed) < 0.7
    for a, b in zip(plain, flipped, strict=True):
        assert np.array_equal(a, b) or np.array_equal(a[:, ::-1], b)


def test_no_shards(data):
    with pytest.raises(FileNotFoundError, match="expected TFRecord shards"):
        training_batches(["/nowhere/*"], data[1], SETTINGS)
