"""Class centres that begin at the data, against means by numpy of what the backbone makes of each identity."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.closeness import assert_close
from tests.helpers import jpeg
from tests.trainer_module.tiny_network import write_run
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module import backbones
from trainer_module.data.images import decode_face, to_input
from trainer_module.data.split import Split
from trainer_module.heads.full import FullCentres, HeadOptions
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints, loop
from trainer_module.training.state import create_state
from trainer_module.workers import supervisor
from trainer_module.workers.job import TrainingJob

LABELS = [3, 3, 8, 8, 8, 5, 5] * 3 + [8]  # 22: the last batch of 8 isn't full
IMAGES = [jpeg(seed) for seed in range(len(LABELS))]
# Far too slow to move a centre, so that the checkpoint has where they began.
SETTINGS = TrainSettings(embedding_dim=128, batch_size=8, steps=1, warmup_steps=0, learning_rate=1e-12, weight_decay=0)


@pytest.mark.parametrize("count", [1, 3])
def test_several_centres_of_a_class_begin_around_its_direction(count):
    head = FullCentres(64, 5, HeadOptions(sub_centres=count))
    directions = np.eye(5, 64, dtype=np.float32)
    head.begin_at(directions)
    found = head.centres.numpy()
    cosines = np.einsum("ckd,cd->ck", found, directions) / np.linalg.norm(found, axis=2)
    assert found.shape == (5, count, 64) and np.all(cosines > (0.98 if count > 1 else 1 - 1e-6))
    assert len(np.unique(found[0], axis=0)) == count
    np.testing.assert_array_equal(head.nearest(3 * directions), np.arange(5))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("centres")
    write_shards(folder / "train", list(zip(IMAGES, LABELS, strict=True)), shards=2)
    start = str(folder / "start")
    write_run(create_state(dataclasses.replace(SETTINGS, seed=5), 2), SETTINGS, start)
    settings = dataclasses.replace(SETTINGS, init_from=start, init_centres="data")
    split = Split([str(folder / "train" / "*.tfrecord")], write_transform_graph(folder, LABELS))
    return TrainingJob(train=split, run_dir=str(folder / "run"), settings=settings)


def _expected(job):
    """Unit means of unit embeddings, as the exported model computes them, in the order of Transform's vocabulary."""
    backbone = backbones.build(job.settings.backbone, **job.settings.build_options())
    checkpoints.read_backbone(backbone, job.settings.init_from)
    pixels = np.stack([decode_face(tf.constant(image)) for image in IMAGES])
    embeddings = backbone(to_input(pixels, job.settings.pixel_format()), training=False).numpy()
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    vocabulary = [int(v) for v in tft.TFTransformOutput(job.train.transform_graph).vocabulary_by_name("identity")]
    means = np.stack([embeddings[np.array(LABELS) == label].mean(axis=0) for label in vocabulary])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


@pytest.mark.slow
@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"accumulate": 4},
        {"sample_rate": 0.9},
        {"strategy": "central"},
        {"workers": 2},
        {"workers": 2, "shard_centres": True},
    ],
    ids=lambda settings: " ".join(settings) or "one process",
)
def test_centres_begin_at_the_means(job, tmp_path, settings):
    own = dataclasses.replace(
        job, run_dir=str(tmp_path / "run"), settings=dataclasses.replace(job.settings, **settings)
    )
    (supervisor.run_workers if own.settings.workers > 1 else loop.train)(own)
    name = "head/centres/.ATTRIBUTES/VARIABLE_VALUE"
    found = tf.train.load_variable(checkpoints.path_in(own.run_dir), name)
    assert_close(found[:, 0], _expected(own))
