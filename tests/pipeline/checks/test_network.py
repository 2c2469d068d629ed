"""A backbone is tried before ingest: what fails to build, or fits no memory, is told as bad input."""

import os

import pytest

from arcface_common.errors import DataError
from pipeline.checks import network
from pipeline.checks.memory import Available
from pipeline.checks.network import check_network
from trainer_module.settings import TrainSettings

OWN = """
import tf_keras
print("imported")
def build(*, name, embedding_dim, dropout, norm, depth=3):
    raise KeyError("no such depth")
def small(*, name, embedding_dim, dropout, norm):
    image = tf_keras.Input((112, 112, 3))
    dense = tf_keras.layers.Dense(embedding_dim)
    embedding = dense(tf_keras.layers.GlobalAveragePooling2D()(image))
    assert dense.kernel.numpy().any()
    return tf_keras.Model(image, embedding, name=name)
def dead(**options):
    import os
    os._exit(7)

def killed(name, embedding_dim, dropout, norm):
    import os, signal
    import tensorflow  # whose words come first
    print("Fatal", file=__import__("sys").stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)

def of_keras_3(name, embedding_dim, dropout, norm):
    import tensorflow as tf
    return tf.keras.Sequential(name=name)

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
        (
            "mobilefacenet",
            {"stem_groups": 7},
            r"expected options that mobilefacenet can .* groups=7",
        ),
        ("iresnet50", {"widths": [65_536] * 4}, r"train.backbone_options: expected about .* GB for .* parameters\. "),
        ("nets_of_mine:build", {}, "train.backbone: expected .* Received: KeyError: 'no such depth'"),
        ("nets_of_mine:dead", {}, "train.backbone: expected .* Received: a process that ended with code 7"),
        ("nets_of_mine:killed", {}, "train.backbone: expected .* Received: a process that ended by SIGSEGV: Fatal"),
        (
            "nets_of_mine:of_keras_3",
            {},
            "must give a tf_keras.Model. Received: Sequential, of Keras 3, as tf.keras gives",
        ),
        (
            "nets_of_mine:without_input",
            {},
            "a tf_keras.Model that begins with a tf_keras.Input. Received: Sequential, which has none",
        ),
    ],
)
def test_what_can_not_be_built(own, monkeypatch, backbone, options, message):
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)  # TensorFlow Transform sets it as it is imported
    with pytest.raises(DataError, match=message):
        check_network(TrainSettings(backbone=backbone, backbone_options=options))


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
