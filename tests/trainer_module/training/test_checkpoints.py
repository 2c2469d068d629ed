"""Reading a backbone from a training run: all of it, or an error that names what is wrong."""

import pytest
import tensorflow as tf
import tf_keras

from arcface_common.errors import DataError
from trainer_module.training import checkpoints


def _network(units=4, extra=False):
    image = tf_keras.Input((3,))
    x = tf_keras.layers.Dense(units, name="first")(image)
    if extra:
        x = tf_keras.layers.PReLU(name="slope")(x)
    return tf_keras.Model(image, x, name="network")


@pytest.fixture
def run_dir(tmp_path):
    checkpoints.write(tf.train.Checkpoint(backbone=_network()), str(tmp_path), is_chief=True)
    return tmp_path


def test_weights_come_back(tmp_path):
    first, again = _network(), _network()
    checkpoints.write(tf.train.Checkpoint(backbone=first), str(tmp_path), is_chief=True)
    checkpoints.read_backbone(again, str(tmp_path))
    for ours, theirs in zip(again.get_weights(), first.get_weights(), strict=True):
        assert (ours == theirs).all()


def test_a_variable_that_the_checkpoint_lacks_is_named(run_dir):
    with pytest.raises(DataError, match="checkpoint/model: expected a checkpoint of network. Received: .*slope/alpha"):
        checkpoints.read_backbone(_network(extra=True), str(run_dir))


def test_a_variable_of_another_shape_is_named(run_dir):
    with pytest.raises(
        DataError, match=r"expected a checkpoint of network. Received: .*shape \(4,\).*shape \(5,\) and name first/bias"
    ):
        checkpoints.read_backbone(_network(units=5), str(run_dir))


def test_no_checkpoint_is_named(tmp_path):
    with pytest.raises(DataError, match="checkpoint/model: expected a checkpoint of network. Received: "):
        checkpoints.read_backbone(_network(), str(tmp_path))


def test_a_cut_checkpoint_is_named(run_dir):
    (data,) = (run_dir / "checkpoint").glob("*.data-*")
    data.write_bytes(data.read_bytes()[:20])
    with pytest.raises(DataError, match="checkpoint/model: expected a checkpoint of network. Received: "):
        checkpoints.read_backbone(_network(), str(run_dir))
