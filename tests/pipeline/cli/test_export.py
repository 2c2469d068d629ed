import subprocess
import sys

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


@pytest.mark.parametrize("command", ["export", "embed"])
def test_nothing_is_written_among_a_models_files(versions, tmp_path, command):
    place = versions / "7" / ("a.onnx" if command == "export" else "a.npz")
    photo = tmp_path / "a.jpg"
    photo.touch()
    result = cli(command, str(versions), *([str(photo)] * (command == "embed")), "--output", str(place))
    expected = f"--output: expected a file outside of '{versions}', which is read. Received: '{place}'"
    assert (result.returncode, expected in result.stderr) == (2, True), result.stderr
    assert not place.exists()


def test_a_place_that_cannot_be_written_is_said_before_tensorflow_is_loaded(versions, tmp_path):
    (tmp_path / "file").touch()
    for place in ("/proc/a.onnx", "/proc/none/a.onnx", str(tmp_path / "file" / "a.onnx")):
        code = (
            "import atexit, sys; atexit.register(lambda: print('tensorflow' in sys.modules))\n"
            f"from pipeline.cli import main; main(['export', {str(versions)!r}, '--output', {place!r}])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "False\n"), done.stderr
        assert "error: --output: " in done.stderr
