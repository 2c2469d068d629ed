"""Closed-set accuracy on the hold-out split, against a count by numpy from the checkpoint that training left."""

import dataclasses
import json
import os

import numpy as np
import pytest

from tests.closeness import assert_close
from tests.helpers import jpeg
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.workers.job import TrainingJob

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forks")]

LABELS = [3, 3, 8, 8, 8, 5, 5, 5] * 3
HELD = [3, 8, 5, 5, 8, 8, 3, 8, 99, 5, 3]  # nobody trains on identity 99
# Group norm has no statistics of a replica's own, so that one worker and two train to the same weights.
SETTINGS = TrainSettings(
    backbone="tests.trainer_module.tiny_network:tiny_network",
    embedding_dim=6,
    norm="group",
    batch_size=8,
    steps=6,
    warmup_steps=1,
    learning_rate=0.02,
    holdout_every=2,
    log_every=3,
    margin=0.1,
)


def _held():
    """Image and label of each held-out Example; a third of the images are also in the training data."""
    return [(jpeg(100 * (i % 3) + label), label) for i, label in enumerate(HELD)]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("holdout")
    write_shards(folder / "train", [(jpeg(label), label) for label in LABELS], shards=2)
    write_shards(folder / "holdout", _held(), shards=2)
    graph = write_transform_graph(folder, LABELS)
    return TrainingJob(
        train=Split([str(folder / "train" / "*.tfrecord")], graph),
        run_dir=str(folder / "run"),
        settings=SETTINGS,
        holdout=Split([str(folder / "holdout" / "*.tfrecord")], graph),
    )


def _run(job, tmp_path, **settings):
    """Trains as `run_fn` does; returns what `holdout.json` says and what numpy counts."""
    from trainer_module.training import loop
    from trainer_module.workers import supervisor

    job = dataclasses.replace(
        job, run_dir=str(tmp_path / "run"), settings=dataclasses.replace(job.settings, **settings)
    )
    if job.settings.workers > 1:
        supervisor.run_workers(job)
    else:
        loop.train(job)
    with open(os.path.join(job.run_dir, "holdout.json")) as file:
        return json.load(file), _counted(job), job.run_dir


def _counted(job):
    """Share of the held-out images whose nearest class centre is their own, by numpy from the checkpoint."""
    import tensorflow as tf
    import tensorflow_transform as tft

    from trainer_module import backbones
    from trainer_module.data.images import decode_face, to_input
    from trainer_module.training import checkpoints

    backbone = backbones.build(job.settings.backbone, **job.settings.build_options())
    checkpoints.read_backbone(backbone, job.run_dir)
    centres = tf.train.load_variable(checkpoints.path_in(job.run_dir), "head/centres/.ATTRIBUTES/VARIABLE_VALUE")
    vocabulary = [int(v) for v in tft.TFTransformOutput(job.train.transform_graph).vocabulary_by_name("identity")]
    pixels = np.stack([decode_face(tf.constant(image)) for image, _ in _held()])
    embeddings = backbone(to_input(pixels, job.settings.pixel_format()), training=False).numpy()
    centres = centres[:, 0] / np.linalg.norm(centres[:, 0], axis=1, keepdims=True)
    found = np.argmax(embeddings @ centres.T, axis=1)
    known = [(vocabulary.index(label), place) for label, place in zip(HELD, found, strict=True) if label in vocabulary]
    return np.mean([own == place for own, place in known]), len(known)


def _curve(run_dir):
    """Step -> hold-out accuracy in TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorflow import make_ndarray

    events = EventAccumulator(os.path.join(run_dir, "tensorboard")).Reload().Tensors("holdout_accuracy")
    return {event.step: float(make_ndarray(event.tensor_proto)) for event in events}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="one process"),
        pytest.param({"norm": "batch"}, id="batch norm"),
        pytest.param({"strategy": "central"}, id="central storage"),
        pytest.param({"workers": 2}, id="two workers"),
    ],
)
def test_the_accuracy_is_that_of_the_checkpoint(job, tmp_path, settings):
    found, (accuracy, images), run_dir = _run(job, tmp_path, **settings)
    assert found == {"accuracy": pytest.approx(accuracy), "images": images, "step": 6}
    assert images == 10
    assert 0 < accuracy < 1
    curve = _curve(run_dir)
    assert list(curve) == [2, 4, 6]
    assert curve[6] == pytest.approx(found["accuracy"])


def test_one_evaluation_at_the_end(job, tmp_path):
    found, _, run_dir = _run(job, tmp_path, holdout_every=0, steps=3)
    assert found["step"] == 3
    assert list(_curve(run_dir)) == [3]


def test_evaluating_does_not_change_what_is_learned(job, tmp_path):
    """Batch-norm statistics and the data order are those of a run without a hold-out split."""
    import tensorflow as tf

    from trainer_module.training import checkpoints, loop

    weights = []
    for name, holdout in (("with", job.holdout), ("without", None)):
        settings = dataclasses.replace(job.settings, norm="batch", steps=4)
        run_dir = str(tmp_path / name)
        loop.train(dataclasses.replace(job, run_dir=run_dir, settings=settings, holdout=holdout))
        reader = tf.train.load_checkpoint(checkpoints.path_in(run_dir))
        names = sorted(n for n in reader.get_variable_to_shape_map() if n.startswith(("backbone", "head")))
        weights.append({n: reader.get_tensor(n) for n in names})
        assert os.path.exists(os.path.join(run_dir, "holdout.json")) == bool(holdout)
    assert weights[0].keys() == weights[1].keys()
    for name in weights[0]:
        if weights[0][name].dtype.kind == "f":
            assert_close(weights[0][name], weights[1][name], 1e-3)


def test_no_image_that_counts(job, tmp_path):
    from trainer_module.training import loop

    write_shards(tmp_path / "strangers", [(jpeg(0), 99)], shards=1)
    loop.train(
        dataclasses.replace(
            job,
            run_dir=str(tmp_path / "run"),
            settings=dataclasses.replace(job.settings, steps=1),
            holdout=Split([str(tmp_path / "strangers" / "*.tfrecord")], job.train.transform_graph),
        )
    )
    found = json.loads((tmp_path / "run" / "holdout.json").read_text())
    assert found == {"accuracy": 0, "images": 0, "step": 1}
