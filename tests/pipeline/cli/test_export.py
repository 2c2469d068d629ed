import onnxruntime
import pytest

from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from serving import export
from tests.processes import cli
from trainer_module import backbones


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    backbone = backbones.build("iresnet_tiny", embedding_dim=16)
    export.export_saved_model(backbone, str(folder / "7"), ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {}))
    return folder


def test_the_latest_version_is_written_as_onnx(versions, tmp_path):
    file = tmp_path / "a.onnx"
    result = cli("export", str(versions), "--output", str(file))
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{file}: onnx of {versions / '7'}, {file.stat().st_size:,} bytes\n"
    assert [port.name for port in onnxruntime.InferenceSession(str(file)).get_inputs()] == ["pixels"]


def test_a_folder_without_a_model_is_named_and_nothing_written(tmp_path):
    result = cli("export", str(tmp_path), "--output", str(tmp_path / "a.onnx"))
    assert result.returncode == 2
    assert "expected a SavedModel or a folder of numbered versions" in result.stderr
    assert not (tmp_path / "a.onnx").exists()
