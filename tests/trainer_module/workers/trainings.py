"""A training of a tiny network by two workers, and how what two trainings came to is compared."""

import numpy as np

from tests.helpers import jpeg
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.workers.job import TrainingJob

LABELS = [0, 1, 2, 3] * 5


def two_workers(folder, steps, **settings):
    """The job over 20 images, whose data is in the folder; it has no folders of results."""
    write_shards(folder / "train", [(jpeg(i), label) for i, label in enumerate(LABELS)], shards=3)
    settings = TrainSettings(
        backbone="tests.trainer_module.tiny_network:tiny_network",
        **{"embedding_dim": 6, "batch_size": 8, "steps": steps, "warmup_steps": 3, "learning_rate": 0.02},
        **{"shuffle_buffer": 4, "scale": 8.0, "workers": 2, "norm": "sync_batch"},
        **settings,
    )
    split = Split([str(folder / "train" / "*.tfrecord")], write_transform_graph(folder, LABELS))
    return TrainingJob(split, "", settings)


def weights(run_dir):
    """All values of a run's checkpoint, by name."""
    import tensorflow as tf

    from trainer_module.training import checkpoints

    prefix = checkpoints.path_in(str(run_dir))
    return {name: tf.train.load_variable(prefix, name) for name, _ in tf.train.list_variables(prefix) if "ATTR" in name}


def assert_same_weights(found, wanted, relative):
    """Fails if there are others, or one is off by more than `relative` of itself and of the largest of its variable."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        size = np.abs(value).max()
        np.testing.assert_allclose(found[name], value, rtol=relative, atol=relative * size, err_msg=name)
