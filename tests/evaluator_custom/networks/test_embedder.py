"""Pairs through a SavedModel."""

import pytest
import tensorflow as tf

from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from arcface_common.protocol import insightface
from evaluator_custom.networks.embedder import DISTANCE, XNORM, PairEmbedder
from serving import export, signatures
from tests.closeness import assert_close
from tests.helpers import jpeg
from trainer_module import backbones


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    backbone = backbones.build("iresnet_tiny", embedding_dim=16)
    path = str(tmp_path_factory.mktemp("embedder") / "model")
    export.export_saved_model(backbone, path, ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {}))
    return PairEmbedder(path), signatures.EmbeddingModel(backbone, PixelFormat())


def test_an_image_in_many_pairs_is_embedded_once_and_comes_out_in_every_place(world):
    embedder, in_process = world
    order = [0, 1, 0, 2, 1, 1, 2, 0]
    seen = []

    class Bar:
        def update(self, images):
            seen.append(images)

    raw, mirrored = embedder.embed([jpeg(i) for i in order], Bar())
    assert sum(seen) == 3
    expected = in_process.verify(tf.constant([jpeg(i) for i in range(3)]))
    assert_close(raw, expected["raw"].numpy()[order])
    assert_close(mirrored, expected["raw_mirrored"].numpy()[order])


def test_more_images_than_fit_one_call(world):
    embedder, in_process = world
    images = [jpeg(i) for i in range(70)]
    expected = in_process.verify(tf.constant(images))
    assert_close(embedder.embed(images)[0], expected["raw"])


def test_predictions_are_the_protocols_distances(world):
    embedder, in_process = world
    images = [jpeg(i) for i in (0, 0, 1, 2)]
    answer = in_process.verify(tf.constant(images))
    distances, norms = insightface.pair_distances(answer["raw"], answer["raw_mirrored"])
    predictions = embedder.predict(images)
    assert_close(predictions[:, DISTANCE], distances)
    assert_close(predictions[:, XNORM], norms)
    assert predictions[0, DISTANCE] == 0


@pytest.mark.parametrize("bad", [b"", b"no image", jpeg(1)[:900]])
def test_an_image_that_the_model_refuses_is_an_error_and_no_zeros(world, bad):
    with pytest.raises(DataError, match=rf"whole JPEG or PNG images.* Received: one of {len(bad)} bytes, "):
        world[0].embed([jpeg(0), bad, jpeg(2)])


def test_a_foreign_model_is_named(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.f})
    with pytest.raises(DataError, match=r"signature 'verification'.* Received: \['serving_default'\]"):
        PairEmbedder(str(tmp_path))
