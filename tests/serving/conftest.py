"""One exported network for all tests of this folder."""

import pytest

from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from serving import export, local
from trainer_module import backbones

DIM = 16


@pytest.fixture(scope="session")
def backbone():
    return backbones.build("iresnet_tiny", embedding_dim=DIM)


@pytest.fixture(scope="session")
def metadata():
    return ModelMetadata("iresnet_tiny", {"norm": "batch"}, DIM, PixelFormat("bgr", scale=127.5), 7, {"steps": 3})


@pytest.fixture(scope="session")
def model_dir(backbone, metadata, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("export") / "model")
    export.export_saved_model(backbone, path, metadata)
    return path


@pytest.fixture(scope="session")
def model(model_dir):
    return local.LocalModel(model_dir)
