"""AutoGraph rewrites a user's layers and none of our functions, nor TensorFlow Transform's."""

import dataclasses
import tempfile

import numpy as np
import pytest
import tensorflow as tf

from arcface_common.features import PixelFormat
from serving.signatures import EmbeddingModel
from tests.helpers import jpeg
from tests.trainer_module.tiny_network import BATCH, SETTINGS, images
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module import backbones
from trainer_module.data.input_pipeline import training_batches
from trainer_module.data.split import Split
from trainer_module.training.state import create_state
from trainer_module.training.step import make_train_step

pytestmark = pytest.mark.slow


@pytest.fixture
def rewritten(tmp_path, monkeypatch):
    """What AutoGraph wrote, a file for each function."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return lambda: [path.read_text() for path in tmp_path.glob("__autograph_generated_file*.py")]


def _loss_of_a_step(backbone):
    settings = dataclasses.replace(SETTINGS, backbone=backbone)
    state = create_state(settings, 5)
    examples = [part.reshape(-1, *part.shape[2:]) for part in images()]
    batches = tf.data.Dataset.from_tensor_slices(tuple(examples)).batch(BATCH)
    return float(make_train_step(tf.distribute.get_strategy(), state, settings)(iter(batches))["loss"])


def test_ours_stay_as_they_are(rewritten):
    assert _loss_of_a_step("iresnet_tiny") > 0
    model = EmbeddingModel(backbones.build("iresnet_tiny"), PixelFormat())
    assert model.signatures()
    assert model.serve(tf.constant([jpeg(1)]))["embedding"].shape == (1, 128)
    # What is a `tf.function` itself: five signatures, their network and the step, below which a user's layers are.
    assert len(rewritten()) <= 7


def test_nor_does_it_rewrite_the_layer_that_looks_labels_up(rewritten, tmp_path):
    write_shards(tmp_path / "train", [(jpeg(label), label) for label in range(BATCH)], shards=1)
    split = Split([str(tmp_path / "train" / "*")], write_transform_graph(tmp_path, list(range(BATCH))))
    before = rewritten()
    next(iter(training_batches(split, SETTINGS)))
    assert rewritten() == before


def test_a_users_layer_may_say_if_of_a_tensor(rewritten):
    name = "tests.trainer_module.tiny_network:branching_network"
    assert _loss_of_a_step(name) > 0
    network = backbones.build(name, embedding_dim=6, norm="batch")
    bright = tf.ones([1, 112, 112, 3])
    for pixels, factor in ((bright, 2.0), (-bright, 1.0)):
        pooled = np.full((1, 48), float(pixels[0, 0, 0, 0]) * factor, np.float32)
        shown = tf.cast(pixels * 127.5 + 127.5, tf.uint8)  # 255 and 0, which the model takes for 1 and -1
        got = EmbeddingModel(network, PixelFormat(scale=127.5)).raw(shown)
        np.testing.assert_allclose(got, network.get_layer("fc")(pooled), rtol=1e-5)
    assert any("reduce_sum" in text for text in rewritten())
