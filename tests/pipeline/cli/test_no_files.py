"""Pipes, sockets and devices in the places of files that no option names: commands end with exit 2, and don't wait."""

import os
import shutil

import pytest
from click.testing import CliRunner

from arcface_common.artifacts import EXTRA
from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from pipeline.cli import main
from tests.arcface_common.test_paths import NO_FILES
from tests.helpers import write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set, a training's results as far as they are read without TensorFlow, and a root of runs."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    start = folder / "start"
    (start / "checkpoint").mkdir(parents=True)
    ModelMetadata("iresnet_tiny", {"norm": "batch"}, 16, PixelFormat(), 7, {}).write(str(start))
    for name in ("checkpoint/model.index", "checkpoint/model.data-00000-of-00001", "identities.txt"):
        (start / name).write_text("1\n")
    return folder


_RUN = ("run", "--data", "data", "--root", "root")
_FROM = (*_RUN, "--init-from", "start")
PLACES = [
    ("data/lfw.csv", ("unpack", "data/lfw.bin", "new")),
    ("data/lfw.csv", (*_RUN, "--preset", "demo")),
    ("data/lfw.csv", ("evaluate", "sets", "model", "--data", "data")),
    ("model/saved_model.pb", ("evaluate", "sets", "model", "--data", "data")),
    ("model/saved_model.pb", ("embed", "model", "face.jpg")),
    ("model/saved_model.pb", ("export", "model", "--output", "new.onnx")),
    ("data/identities.txt", ("unpack", "data/train.rec", "new")),
    ("data/train.idx", ("unpack", "data/train.rec", "new")),
    ("drawn/synthetic.json", ("synth", "drawn")),
    ("start/model.json", _FROM),
    ("start/identities.txt", _FROM),
    ("start/checkpoint/model.index", _FROM),
    ("start/checkpoint/model.data-00000-of-00001", _FROM),
    ("root/metadata.sqlite", (*_RUN, "--preset", "demo")),
    ("root/run.lock", (*_RUN, "--preset", "demo")),
    ("net-0000.params", ("import-mxnet", "net", "0", "new")),
    ("net-symbol.json", ("import-mxnet", "net", "0", "new")),
]


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize(("place", "command"), PLACES, ids=lambda value: value if isinstance(value, str) else value[0])
def test_no_file_in_a_files_place(world, tmp_path, monkeypatch, place, command, kind):
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name in ("net-0000.params", "net-symbol.json"):
        (tmp_path / name).write_text("{}")
    model = tmp_path / "model" / EXTRA
    model.mkdir(parents=True)
    (model.parent / "saved_model.pb").write_text("x")
    path = tmp_path / place
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    NO_FILES[kind](str(path))
    result = CliRunner().invoke(main, command)
    said = result.output
    assert result.exit_code == 2, said
    if kind == "a folder" and "checkpoint" in place:
        assert "model.index: expected a whole file of a checkpoint. Received: a damaged one" in said
    else:
        assert f"{os.path.basename(place)}: expected a file. Received: {kind}" in said


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("data/lfw.csv", (*_RUN, "--preset", "demo")),
        ("data/lfw.bin", (*_RUN, "--preset", "demo")),
        ("start/identities.txt", _FROM),
        ("start/model.json", _FROM),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_file_of_20_gb_is_refused_by_its_size(world, tmp_path, monkeypatch, place, command):
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with open(tmp_path / place, "ab") as file:
        file.truncate(20 << 30)
    result = CliRunner().invoke(main, command)
    said = result.output
    assert result.exit_code == 2, said
    assert f"{os.path.basename(place)}: expected a file of at most" in said
