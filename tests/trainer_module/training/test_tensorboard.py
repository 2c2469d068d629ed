"""The curves of a training run: what each step used, and the same whatever the number of workers."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from arcface_common.errors import DataError
from tests.closeness import assert_close
from tests.helpers import jpeg
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.training.loop import _summaries
from trainer_module.workers.job import TrainingJob

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forks")]

LABELS = [3, 8, 5, 8] * 4
STEPS = 4
# Group norm has no statistics of a replica's own, so that one worker and two train alike.
SETTINGS = TrainSettings(
    backbone="tests.trainer_module.tiny_network:tiny_network",
    embedding_dim=6,
    norm="group",
    batch_size=8,
    steps=STEPS,
    warmup_steps=2,
    learning_rate=0.1,
    margin=0.5,
    margin_warmup_steps=2,
    log_every=1,
)


def _events(tmp_path, settings):
    """Trains; what TensorBoard reads of it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from trainer_module.training import loop
    from trainer_module.workers import supervisor

    write_shards(tmp_path / "train", [(jpeg(i), label) for i, label in enumerate(LABELS)], shards=2)
    job = TrainingJob(
        train=Split([str(tmp_path / "train" / "*.tfrecord")], write_transform_graph(tmp_path, LABELS)),
        run_dir=str(tmp_path / "run"),
        settings=settings,
    )
    if settings.workers > 1:
        supervisor.run_workers(job)
    else:
        loop.train(job)
    return EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()


def _curves(tmp_path, workers, accumulate):
    """Name -> values of steps 1 to STEPS."""
    from tensorflow import make_ndarray

    events = _events(tmp_path, dataclasses.replace(SETTINGS, workers=workers, accumulate=accumulate))
    curves = {}
    for name in events.Tags()["tensors"]:
        points = events.Tensors(name)
        assert [point.step for point in points] == list(range(1, STEPS + 1))
        curves[name] = [float(make_ndarray(point.tensor_proto)) for point in points]
    return curves


def test_what_augmentation_does_is_shown(tmp_path):
    """Eight images a row, the first as they are."""
    from tensorflow import make_ndarray

    from trainer_module.data.images import decode

    settings = dataclasses.replace(SETTINGS, augment={"jpeg": 0.2, "zoom": 0.1, "crop": 0.0})
    (point,) = _events(tmp_path, settings).Tensors("augmentation")
    width, height, png = make_ndarray(point.tensor_proto)
    image = np.asarray(Image.open(io.BytesIO(png)))
    assert (int(width), int(height)) == (8 * 112, 3 * 112)
    assert image.shape == (3 * 112, 8 * 112, 3)
    first, second, third = np.split(image, 3)
    known = {decode(jpeg(i)).numpy().tobytes() for i in range(len(LABELS))}
    assert {part.tobytes() for part in np.split(first, 8, axis=1)} <= known
    assert (first != second).any()
    assert (first != third).any()


def test_curves(tmp_path):
    one, two, parts = (_curves(tmp_path / f"{of}", *of) for of in ((1, 1), (2, 1), (2, 2)))
    for curves in (one, two, parts):
        # Two steps of warm-up, then half a cosine over the other two: 0.1 (1 + cos(0)) / 2, 0.1 (1 + cos(pi / 2)) / 2.
        assert curves["learning_rate"] == pytest.approx([0.05, 0.1, 0.1, 0.05])
        assert curves["margin"] == pytest.approx([0.0, 0.25, 0.5, 0.5])
        assert min(curves.pop("images_per_second")) > 0
        assert 0 <= min(curves.pop("input_seconds")) < 60
        assert 0.2 < min(curves.pop("memory_gb")) < 20
        assert_close(
            curves["total_loss"], [a + b for a, b in zip(curves["loss"], curves["penalty"], strict=True)], 1e-6
        )
    told = {"total_loss", "loss", "penalty", "l2_factor", "accuracy", "norm", "gradient_norm"}
    assert one.keys() == two.keys() == parts.keys() > told
    for name, values in one.items():
        assert_close(two[name], values, 1e-2)
        assert_close(parts[name], values, 1e-2)


@pytest.mark.parametrize(
    ("message", "raised"),
    [("FILE; No space left on device", DataError), ("OOM when allocating", tf.errors.ResourceExhaustedError)],
)
def test_a_full_disk_under_the_events_is_no_fault_of_the_training(tmp_path, message, raised):
    job = TrainingJob(train=Split([], ""), run_dir=str(tmp_path), settings=TrainSettings(batch_size=8))
    with (
        pytest.raises(raised, match="checkpoints stay|OOM"),
        _summaries(job, is_chief=True),
    ):
        raise tf.errors.ResourceExhaustedError(None, None, message)
