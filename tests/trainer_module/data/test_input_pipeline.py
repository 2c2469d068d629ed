"""The training input: a function of (seed, epoch, step), the same images on one worker or several."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from PIL import Image

from arcface_common.errors import DataError
from tests.helpers import jpeg
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module.augmentation_facts import AUGMENTATIONS
from trainer_module.data.images import decode, decode_face
from trainer_module.data.input_pipeline import (
    decode_batch,
    holdout_batches,
    images_that_decode,
    mirror,
    training_batches,
)
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings

LABELS = [100, 7, 7, 300, 300, 300, 7, 300] * 3  # gaps, as in a cleaned list
HELD = [7, 300, 100, 100, 300, 5]  # nobody trains on identity 5
SETTINGS = TrainSettings(batch_size=8, flip=False, shuffle_buffer=6, seed=5)
FLIPPING = TrainSettings(batch_size=8, flip=True, shuffle_buffer=6, seed=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three shards of 8 Examples, and Transform's output for them."""
    folder = tmp_path_factory.mktemp("input")
    write_shards(folder / "train", [(jpeg(i), label) for i, label in enumerate(LABELS)], shards=3)
    write_shards(folder / "holdout", [(jpeg(100 + i), label) for i, label in enumerate(HELD)], shards=2)
    return Split([str(folder / "train" / "*.tfrecord")], write_transform_graph(folder, LABELS))


@pytest.fixture(scope="module")
def held(data):
    return Split([data.patterns[0].replace("train", "holdout")], data.transform_graph)


def _take(dataset, batches):
    taken = list(dataset.take(batches).as_numpy_iterator())
    return tuple(np.concatenate(parts) for parts in zip(*taken, strict=True))


def _which(pixels, first=0, count=24):
    """The number of each image, found by its pixels."""
    known = {decode(jpeg(i)).numpy().tobytes(): i for i in range(first, first + count)}
    return [known[image.tobytes()] for image in pixels]


def test_an_epoch_holds_every_image_once_with_its_class(data):
    pixels, classes, mirrored = _take(training_batches(data, SETTINGS), 3)
    assert pixels.dtype == np.uint8
    assert not mirrored.any()
    order = _which(pixels)
    assert sorted(order) == list(range(24))
    vocabulary = [int(v) for v in tft.TFTransformOutput(data.transform_graph).vocabulary_by_name("identity")]
    assert set(vocabulary) == set(LABELS)
    assert [vocabulary[c] for c in classes] == [LABELS[i] for i in order]


def test_epochs_differ_and_runs_do_not(data):
    first, _, _ = _take(training_batches(data, SETTINGS), 6)
    again, _, _ = _take(training_batches(data, SETTINGS), 6)
    np.testing.assert_array_equal(first, again)
    order = _which(first)
    assert order[:24] != order[24:]
    assert sorted(order[24:]) == list(range(24))


def test_shards_come_in_another_order_in_each_epoch(data):
    """With a window of one record nothing else mixes them."""
    settings = TrainSettings(**{**SETTINGS.to_dict(), "shuffle_buffer": 1})
    order = np.array(_which(_take(training_batches(data, settings), 18)[0])).reshape(6, 3, 8)
    shards = order // 8
    assert (shards == shards[:, :, :1]).all()
    assert (np.sort(shards[:, :, 0]) == np.arange(3)).all()
    assert len({tuple(epoch) for epoch in shards[:, :, 0]}) > 2
    assert (order % 8 == np.arange(8)).all()


@pytest.mark.parametrize("first_step", [1, 2, 3, 4, 5])
def test_a_training_goes_on_with_the_next_batch(data, first_step):
    """Three batches are an epoch, one is a shard; a window has 6 of its 8 records."""
    whole = _take(training_batches(data, FLIPPING), 6)
    rest = _take(training_batches(data, FLIPPING, first_step=first_step), 6 - first_step)
    for part, all_of_it in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(part, all_of_it[8 * first_step :])


@pytest.mark.parametrize("first_step", [0, 1])
@pytest.mark.parametrize("replicas", [1, 2])
def test_two_workers_see_what_one_would(data, replicas, first_step):
    """Two input pipelines that feed one or two replicas each."""
    whole = _take(training_batches(data, FLIPPING), 3 + first_step)
    contexts = [tf.distribute.InputContext(2, worker, 2 * replicas) for worker in (0, 1)]
    parts = [_take(training_batches(data, FLIPPING, context, first_step), 3 * replicas) for context in contexts]
    assert parts[0][0].shape == parts[1][0].shape == (12, 112, 112, 3)
    for ours, theirs in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.stack(ours, axis=1).reshape(-1, *theirs.shape[1:]), theirs[8 * first_step :])


AUGMENTING = TrainSettings(batch_size=8, shuffle_buffer=6, seed=5, augment=dict.fromkeys(AUGMENTATIONS, 0.5))


@pytest.mark.parametrize("first_step", [0, 2])
@pytest.mark.parametrize("replicas", [1, 2])
def test_augmented_images_are_the_same_bytes_on_any_workers_and_after_a_resumption(data, replicas, first_step):
    whole = _take(training_batches(data, AUGMENTING), 4)
    contexts = [tf.distribute.InputContext(2, worker, 2 * replicas) for worker in (0, 1)]
    count = (4 - first_step) * replicas
    parts = [_take(training_batches(data, AUGMENTING, context, first_step), count) for context in contexts]
    for ours, theirs in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.stack(ours, axis=1).reshape(-1, *theirs.shape[1:]), theirs[8 * first_step :])


def test_augmentation_is_drawn_anew_in_each_step_and_changes_no_other_draw(data):
    plain = dataclasses.replace(AUGMENTING, augment={})
    pixels, classes, mirrored = _take(training_batches(data, AUGMENTING), 12)
    as_they_are, same_classes, same_mirrored = _take(training_batches(data, plain), 12)
    np.testing.assert_array_equal(classes, same_classes)
    np.testing.assert_array_equal(mirrored, same_mirrored)
    changed = (pixels != as_they_are).any(axis=(1, 2, 3))
    assert 0.8 < changed.mean() < 1  # 1 - 1/2^5 = 0.97 of 96
    epochs = np.array(_which(as_they_are)).reshape(4, 24).argsort(axis=1) + 24 * np.arange(4)[:, None]
    assert (pixels[epochs[0]] != pixels[epochs[1]]).any(axis=(1, 2, 3)).mean() > 0.8
    other = _take(training_batches(data, dataclasses.replace(AUGMENTING, seed=6)), 1)[0]
    assert (other != pixels[:8]).any()


def test_half_of_the_images_are_mirrored_and_others_each_time(data):
    _, _, mirrored = _take(training_batches(data, TrainSettings(**{**FLIPPING.to_dict(), "batch_size": 24})), 60)
    assert 0.47 < mirrored.mean() < 0.53  # 1,440 draws: a standard deviation of 0.013
    assert 0.47 < (mirrored[:-24] == mirrored[24:]).mean() < 0.53
    _, _, other = _take(training_batches(data, TrainSettings(**{**FLIPPING.to_dict(), "seed": 6})), 6)
    _, _, first = _take(training_batches(data, FLIPPING), 6)
    assert (first != other).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mirror(dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3)).astype(dtype)
    mirrored = np.array([True, False, False, True, True])
    expected = np.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels)
    np.testing.assert_array_equal(mirror(pixels, mirrored), expected)


def _png(seed):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


ALIGNED = [
    pytest.param([jpeg(i) for i in range(4)], id="JPEG"),
    pytest.param([jpeg(0), _png(1), jpeg(2), _png(3)], id="PNG among JPEG"),
]
OTHERS = [
    pytest.param([jpeg(0), jpeg(1, size=250), _png(2), jpeg(3, size=96)], id="other sizes"),
    pytest.param([jpeg(i, size=96) for i in range(4)], id="all of one other size"),
]


def _batch(images, any_size):
    return tf.function(lambda image_bytes: decode_batch(image_bytes, len(images), any_size))(tf.constant(images))


@pytest.mark.parametrize("images", ALIGNED)
def test_aligned_images_are_decoded_alike_either_way(images):
    np.testing.assert_array_equal(_batch(images, any_size=False), _batch(images, any_size=True))


@pytest.mark.parametrize("images", ALIGNED + OTHERS)
def test_a_batch_is_decoded_as_its_images_are(images):
    np.testing.assert_array_equal(_batch(images, any_size=True), [decode_face(tf.constant(image)) for image in images])


@pytest.mark.parametrize("images", OTHERS)
def test_another_size_is_an_error_where_it_is_not_asked_for(images):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[250,250,3\]|\[4,96,96,3\] is not compatible"):
        _batch(images, any_size=False)


def test_batches_of_any_size(tmp_path):
    write_shards(tmp_path / "train", [(jpeg(i, size=(112, 96)[i % 2]), i % 2) for i in range(8)], shards=1)
    settings = TrainSettings(batch_size=8)
    split = Split([str(tmp_path / "train" / "*.tfrecord")], write_transform_graph(tmp_path, [0, 1]), any_size=True)
    for batches in (training_batches(split, settings), holdout_batches(split, settings)):
        pixels, *_ = next(iter(batches))
        assert pixels.shape == (8, 112, 112, 3)


@pytest.mark.parametrize("batch_size", [4, 6, 8])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_hold_out_split_comes_whole_to_any_number_of_workers(held, workers, batch_size):
    settings = TrainSettings(batch_size=batch_size)
    batches = -(-len(HELD) // batch_size)
    contexts = [tf.distribute.InputContext(workers, worker, workers) for worker in range(workers)]
    parts = [_take(holdout_batches(held, settings, context), batches) for context in contexts]
    pixels, classes = (np.stack(own, axis=1).reshape(-1, *own[0].shape[1:]) for own in zip(*parts, strict=True))
    assert len(classes) == batches * batch_size
    vocabulary = [int(v) for v in tft.TFTransformOutput(held.transform_graph).vocabulary_by_name("identity")]
    expected = [vocabulary.index(label) if label in vocabulary else -1 for label in HELD]
    assert list(classes) == expected + [-1] * (len(classes) - len(HELD))
    assert _which(pixels[: len(HELD)], 100, len(HELD)) == list(range(100, 100 + len(HELD)))


def test_the_hold_out_split_begins_anew_after_each_pass(held):
    settings = TrainSettings(batch_size=4)
    _, classes = _take(holdout_batches(held, settings), 4)
    np.testing.assert_array_equal(classes[:8], classes[8:])


@pytest.mark.parametrize("make", [training_batches, holdout_batches])
def test_no_shards(data, make):
    with pytest.raises(
        FileNotFoundError, match=r"expected TFRecord shards of a split\. Received: patterns=\['/nowhere"
    ):
        make(Split(["/nowhere/*"], data.transform_graph), SETTINGS)


@pytest.mark.parametrize("any_size", [False, True])
def test_an_image_that_is_damaged_inside_is_said_to_be_one(data, tmp_path, any_size):
    whole = io.BytesIO()
    Image.open(io.BytesIO(jpeg(0))).save(whole, "PNG")
    damaged = bytearray(whole.getvalue())
    damaged[200:260] = b"\xff" * 60  # header and end are right
    write_shards(tmp_path / "train", [(bytes(damaged), 7)] * 8, shards=1)
    batches = iter(training_batches(Split([str(tmp_path / "train" / "*")], data.transform_graph, any_size), SETTINGS))
    step = tf.function(lambda: next(batches))  # as in the training step
    message = r"^training records: expected images that decode; ingest\.decode=true finds .* Received: Invalid PNG"
    with pytest.raises(DataError, match=message) as found, images_that_decode():
        step()
    assert "\n" not in str(found.value)


def test_what_is_no_image_s_fault_stays_what_it_is():
    with pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes"), images_that_decode():
        tf.constant([1, 2]) + tf.constant([1, 2, 3])
