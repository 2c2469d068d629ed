"""Verification while training: the protocol's figures, of the weights of the step, and no change to the training."""

import dataclasses
import json

import numpy as np
import pytest

from arcface_common.protocol import insightface
from tests.closeness import assert_close
from tests.helpers import jpeg
from tests.trainer_module.training_data import IMAGES, SAME, write_pairs, write_shards, write_transform_graph
from trainer_module.data.pairs import PairSet, PairSplits
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.workers.job import TrainingJob

SETTINGS = TrainSettings(
    backbone="tests.trainer_module.tiny_network:tiny_network",
    **{"embedding_dim": 6, "batch_size": 8, "steps": 4, "warmup_steps": 1, "log_every": 2, "verify_every": 2},
)
LABELS = [0, 1, 2, 3] * 4


def expected(backbone):
    """The figures, pair by pair and without any batch."""
    import tensorflow as tf

    from trainer_module.data.images import decode_faces

    def embed(number, mirrored):
        pixels = decode_faces(tf.constant([jpeg(number)]))
        pixels = tf.cast(pixels[:, :, ::-1] if mirrored else pixels, tf.float32)
        return backbone((pixels - 127.5) / 128, training=False).numpy()[0]

    sides = [np.stack([embed(number, mirrored) for pair in IMAGES for number in pair]) for mirrored in (False, True)]
    distances, norms = insightface.pair_distances(*sides)
    return insightface.evaluate(distances, SAME, norms, cut="stratified")


def test_a_set_is_in_the_published_order_and_holds_each_image_once(tmp_path):
    found = PairSet([write_pairs(tmp_path / "lfw")])
    assert found.is_same.tolist() == SAME
    assert found.images == len({number for pair in IMAGES for number in pair})
    sizes = [len(batch) for batch in found.batches(16)]
    assert sum(sizes) == found.images and set(sizes[:-1]) == {16}
    assert (found.rows[8] == found.rows[0, 0]).all()
    with pytest.raises(FileNotFoundError, match="expected TFRecord shards of a verification set. Received: "):
        PairSet([str(tmp_path / "none" / "*")])


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_figures_are_those_of_the_protocol_in_float32(tmp_path, precision):
    import tensorflow as tf

    from trainer_module.training.state import create_state
    from trainer_module.training.verification import Verification

    state = create_state(dataclasses.replace(SETTINGS, precision=precision), classes=4)
    plain = create_state(dataclasses.replace(SETTINGS, seed=2), classes=4)
    verification = Verification(SETTINGS, PairSplits({"lfw": [write_pairs(tmp_path / "lfw")]}, "stratified"))
    for scale in (1.0, 3.0):  # the copy follows the weights
        for variable, own in zip(state.backbone.variables, plain.backbone.variables, strict=True):
            variable.assign(variable * scale)
            own.assign(tf.convert_to_tensor(variable))
        found = verification.judge([tf.convert_to_tensor(v) for v in state.backbone.variables])["lfw"]
        wanted = expected(plain.backbone)
        assert found.accuracy == wanted.accuracy and found.accuracy is not None
        assert_close(found.xnorm, wanted.xnorm, 1e-6)
        assert found.folds == "stratified"


def test_a_set_that_bears_no_accuracy_says_why(tmp_path):
    from trainer_module.training.verification import in_words, mean_accuracy

    few = insightface.evaluate([0.5] * 4, [True, False] * 2, [1.0] * 4)
    assert in_words({"few": few}) == "few - (too few for the protocol: needs 10 pairs; there are 4)"
    assert mean_accuracy({"few": few}) is None
    many = insightface.evaluate([0.5, 1.5] * 10, [True, False] * 10, [2.0] * 20)
    assert in_words({"many": many, "few": few}).startswith("many 1.0000 (XNorm 2.00), few - ")
    assert mean_accuracy({"few": few, "many": many}) == 1.0


@pytest.mark.slow
@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_told_each_so_many_steps_and_changes_nothing(tmp_path, workers):
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorflow import make_ndarray

    from trainer_module import backbones
    from trainer_module.training import checkpoints, loop
    from trainer_module.workers import supervisor

    write_shards(tmp_path / "train", [(jpeg(i), label) for i, label in enumerate(LABELS)], shards=2)
    split = Split([str(tmp_path / "train" / "*.tfrecord")], write_transform_graph(tmp_path, LABELS))
    pairs = PairSplits({name: [write_pairs(tmp_path / name)] for name in ("lfw", "own")}, "stratified")
    networks = []
    for name, of in (("with", pairs), ("without", None)):
        job = TrainingJob(split, str(tmp_path / name), dataclasses.replace(SETTINGS, workers=workers), pairs=of)
        (tmp_path / name).mkdir()
        supervisor.run_workers(job) if workers > 1 else loop.train(job)
        networks.append(backbones.build(SETTINGS.backbone, **SETTINGS.build_options()))
        checkpoints.read_backbone(networks[-1], job.run_dir)
    for one, two in zip(*(network.get_weights() for network in networks), strict=True):
        assert_close(one, two, 1e-5)
    assert not (tmp_path / "without" / "verified.json").exists()
    told = json.loads((tmp_path / "with" / "verified.json").read_text())
    wanted = expected(networks[0])
    assert (told["step"], told["accuracy"]) == (4, wanted.accuracy)
    assert told["sets"]["own"]["accuracy"] == wanted.accuracy
    assert_close(told["sets"]["lfw"]["xnorm"], wanted.xnorm, 1e-5)
    events = EventAccumulator(str(tmp_path / "with" / "tensorboard")).Reload()
    for name in ("verification/lfw_accuracy", "verification/own_xnorm"):
        assert [point.step for point in events.Tensors(name)] == [2, 4]
    last = float(make_ndarray(events.Tensors("verification/own_xnorm")[-1].tensor_proto))
    assert last == pytest.approx(told["sets"]["own"]["xnorm"])
    assert tf.io.gfile.exists(checkpoints.path_in(str(tmp_path / "with")) + ".index")
