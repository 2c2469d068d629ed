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
    with pytest.raises(
        DataError, match=r"checkpoint/model.index: expected a whole file of a checkpoint. Received: no such file$"
    ):
        checkpoints.read_backbone(_network(), str(tmp_path))


def _overwritten(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "received"),
    [
        (lambda content: None, "no such file"),
        (lambda content: b"", "an empty one"),
        (lambda content: content[:20], "a damaged one"),
        (lambda content: content[:-1], "a damaged one"),
        (lambda content: _overwritten(content, 10), "a damaged one"),
        (lambda content: bytes(len(content)), "a damaged one"),
    ],
    ids=["missing", "empty", "cut", "cut by a byte", "overwritten", "zeros"],
)
@pytest.mark.parametrize("name", ["model.index", "model.data-00000-of-00001"])
def test_a_damaged_file_of_a_checkpoint_is_named(run_dir, name, damage, received):
    path = run_dir / "checkpoint" / name
    content = damage(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    message = f"^{path}: expected a whole file of a checkpoint. Received: {received}$"
    with pytest.raises(DataError, match=message):
        checkpoints.check_whole(str(run_dir))
    with pytest.raises(DataError, match=message):
        checkpoints.read_backbone(_network(), str(run_dir))
