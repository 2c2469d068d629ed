"""A backbone is tried before ingest: what fails to build, or fits no memory, is told as bad input."""

import os

import numpy as np
import pytest
import tensorflow as tf

from arcface_common.errors import DataError
from arcface_common.model_metadata import ModelMetadata, PixelFormat
from pipeline.checks import network
from pipeline.checks.memory import Available
from pipeline.checks.network import check_network
from trainer_module import backbones
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints, tryout

OWN = """
import tf_keras
print("imported")
def build(*, name, embedding_dim, dropout, norm, depth=3):
    raise KeyError("no such depth")
def small(name, embedding_dim, dropout, norm):
    image = tf_keras.Input((112, 112, 3))
    dense = tf_keras.layers.Dense(embedding_dim)
    embedding = dense(tf_keras.layers.GlobalAveragePooling2D()(image))
    assert dense.kernel.numpy().any()
    return tf_keras.Model(image, embedding, name=name)
def dead(**options):
    import os, sys
    said = "broken\\nTo enable the following instructions: AVX2, rebuild TensorFlow with the appropriate flags."
    print(said, file=sys.stderr, flush=True)
    os._exit(7)

def killed(name, embedding_dim, dropout, norm):
    import os, signal
    import tensorflow  # whose words come first
    print("Fatal", file=__import__("sys").stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)

def of_keras_3(name, embedding_dim, dropout, norm):
    import keras  # what tf.keras is, unless TF_USE_LEGACY_KERAS says otherwise
    return keras.Sequential(name=name)

def nowhere(name, embedding_dim, dropout, norm):
    import tf_keras
    model = small(name, embedding_dim, dropout, norm)
    return tf_keras.Model(model.input, tf_keras.layers.Rescaling(float("nan"))(model.output), name=name)

def without_input(name, embedding_dim, dropout, norm):
    import tf_keras
    return tf_keras.Sequential([tf_keras.layers.Flatten()], name=name)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "nets_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "nets_of_mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("iresnet50", {"widths": [65_536] * 4}, r"train.backbone_options: expected about .* GB for .* parameters\. "),
        (
            "nets_of_mine:build",
            {},
            "train.backbone: expected .* a network. Received: KeyError: 'no such depth'",
        ),
        ("nets_of_mine:dead", {}, "train.backbone: expected .* Received: a process that ended with code 7: broken$"),
        ("nets_of_mine:killed", {}, "train.backbone: expected .* Received: a process that ended by SIGSEGV: Fatal"),
    ],
)
def test_what_can_not_be_built(own, backbone, options, message):
    with pytest.raises(DataError, match=message):
        check_network(TrainSettings(backbone=backbone, backbone_options=options))


@pytest.mark.parametrize(
    ("backbone", "options", "error"),
    [
        ("mobilefacenet", {"stem_groups": 7}, "groups=7"),
        ("nets_of_mine:of_keras_3", {}, "must give a tf_keras.Model. Received: Sequential, of Keras 3, as tf.keras "),
        ("nets_of_mine:without_input", {}, "that begins with a tf_keras.Input. Received: Sequential, which has none"),
        ("nets_of_mine:nowhere", {}, "nets_of_mine:nowhere: expected finite embeddings. Received: values that are NaN"),
    ],
)
def test_why_a_network_is_none(own, backbone, options, error):
    assert error in tryout.tried(backbone, options)["error"]


@pytest.mark.slow
def test_what_can_be_built(own, monkeypatch):
    check_network(TrainSettings(backbone="nets_of_mine:small"))
    options = {"epsilon": 1e-5}
    check_network(TrainSettings(backbone="iresnet18", norm="batch_renorm", backbone_options=options))
    monkeypatch.setattr(network, "available", lambda: Available(100_000_000, "this machine"))
    with pytest.raises(DataError, match=r"0.1 GB left of this machine"):
        check_network(TrainSettings(backbone="iresnet18", backbone_options=options))
    check_network(TrainSettings(backbone="iresnet18", backbone_options=options, check_memory=False))


def test_a_backbone_of_ours_alone_costs_nothing(monkeypatch):
    monkeypatch.setattr(os, "environ", {})  # no process could be started
    check_network(TrainSettings(backbone="iresnet50"))


def _write(model, folder):
    """An import's folder."""
    checkpoints.write(tf.train.Checkpoint(backbone=model), str(folder), is_chief=True)
    ModelMetadata("iresnet_tiny", {}, 128, PixelFormat(), 2, {}).write(str(folder))


@pytest.mark.slow
def test_the_folder_that_training_begins_from(tmp_path):
    model, folder = backbones.build("iresnet_tiny"), tmp_path / "of it"
    folder.mkdir()

    def damage():
        return tryout.tried("iresnet_tiny", {}, str(folder))["damage"]

    _write(model, folder)
    settings = TrainSettings(backbone="iresnet_tiny", embedding_dim=128, init_from=str(folder))
    check_network(settings)

    model.set_weights([np.full_like(value, np.nan) for value in model.get_weights()])
    _write(model, folder)
    assert damage() == f"{folder}: expected finite embeddings. Received: values that are NaN or infinite, for noise"

    _write(backbones.build("iresnet_tiny", widths=(16, 48, 96)), folder)
    assert damage().startswith(f"{folder}/checkpoint/model: expected a checkpoint of iresnet_tiny. Received: ")

    data = folder / "checkpoint" / "model.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(DataError, match=f"{data}: expected a whole file of a checkpoint. Received: a damaged one"):
        check_network(settings)
