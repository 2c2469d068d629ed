"""The Trainer's user code, before anything is trained."""

from types import SimpleNamespace

import pytest

from arcface_common.errors import DataError
from tests.trainer_module.training_data import write_transform_graph
from trainer_module.run_fn import run_fn
from trainer_module.settings import TrainSettings


def test_one_identity_alone_is_refused(tmp_path):
    files = [str(tmp_path / "train" / "*.tfrecord")]
    asked = SimpleNamespace(
        custom_config={"settings": TrainSettings().to_dict(), "any_size": False},
        train_files=files,
        eval_files=files,
        transform_graph_path=write_transform_graph(tmp_path, [7]),
        model_run_dir=str(tmp_path / "run"),
        serving_model_dir=str(tmp_path / "model"),
    )
    with pytest.raises(DataError, match="expected images of two identities or more to tell apart. Received: of 1"):
        run_fn(asked)
