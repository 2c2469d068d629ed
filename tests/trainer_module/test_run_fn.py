"""The Trainer's user code as the executor calls it: one training, and another that starts from it."""

import types

import numpy as np
import pytest

from arcface_common.model_metadata import ModelMetadata
from tests.helpers import jpeg
from tests.trainer_module.training_data import write_shards, write_transform_graph
from trainer_module.run_fn import run_fn
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints

pytestmark = pytest.mark.slow
CENTRES = "head/centres/.ATTRIBUTES/VARIABLE_VALUE"


def _train(folder, labels, **more):
    """Trains on those labels; returns the run's folder."""
    write_shards(folder / "train", [(jpeg(i), label) for i, label in enumerate(labels)], shards=2)
    settings = TrainSettings(
        backbone="tests.trainer_module.tiny_network:tiny_network",
        **{"embedding_dim": 6, "batch_size": 4, "steps": 2, "warmup_steps": 0, **more},
    )
    files = [str(folder / "train" / "*.tfrecord")]
    run_fn(
        types.SimpleNamespace(
            custom_config={"settings": settings.to_dict(), "any_size": False},
            train_files=files,
            eval_files=files,
            transform_graph_path=write_transform_graph(folder, labels),
            model_run_dir=str(folder / "run"),
            working_dir=str(folder / "work"),
            pair_patterns={},
            data_digest="",
        )
    )
    return folder / "run"


def test_a_run_leaves_its_identities_by_which_the_next_one_keeps_their_centres(tmp_path, capfd):
    first = _train(tmp_path / "first", [7, 300, 300, 12, 300, 7])
    assert (first / "identities.txt").read_text() == "300\n7\n12\n"  # by falling frequency, as the classes are numbered
    assert ModelMetadata.read(str(first)).classes == 3
    assert "starts from" not in capfd.readouterr().err
    started = {"init_from": str(first), "init_centres": "kept", "freeze_steps": 1, "learning_rate": 1e-9}
    second = _train(tmp_path / "second", [12, 8, 12, 7, 7, 12], **started)
    assert (second / "identities.txt").read_text() == "12\n7\n8\n"
    said = "the backbone is frozen for 1 steps; centres: 2 of 3 identities kept, 1 new, 1 dropped"
    assert f"starts from {first}; {said}" in capfd.readouterr().err
    before, after = (checkpoints.read_value(str(run), CENTRES) for run in (first, second))
    np.testing.assert_allclose(after[:2], before[[2, 1]], rtol=0, atol=1e-6)
