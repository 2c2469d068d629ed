"""Importing published weights by the command line, and what can be done with the result."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from arcface_common.errors import ConfigError, DataError
from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from components.formats import verification_bin
from pipeline.config import make_config
from pipeline.imports import write_import
from serving import local, signatures
from tests.closeness import assert_close
from tests.helpers import jpeg
from tests.processes import cli
from trainer_module import backbones
from trainer_module.training import checkpoints
from trainer_module.weights.structure import Imported

PIXELS = PixelFormat("bgr", 127.5, 127.5)
OPTIONS = {"embedding_dim": 16, "dropout": 0.0, "epsilon": 1e-3}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A backbone with random weights, written as an import."""
    out = str(tmp_path_factory.mktemp("import") / "out")
    backbone = backbones.build("iresnet_tiny", **OPTIONS)
    write_import(Imported(backbone, "iresnet_tiny", OPTIONS, 16, PIXELS, (), "a test"), out)
    return backbone, out


def test_it_is_what_a_training_run_writes(imported):
    backbone, out = imported
    assert sorted(path.name for path in Path(out).iterdir()) == [
        "checkpoint",
        "mapping.txt",
        "model.json",
        "saved_model",
    ]
    metadata = ModelMetadata.read(out)
    assert metadata.pixel_format == PIXELS
    again = backbones.build(metadata.backbone, **metadata.options)
    checkpoints.read_backbone(again, out)
    pixels = tf.random.stateless_uniform([2, 112, 112, 3], [1, 2], -1, 1)
    np.testing.assert_array_equal(again(pixels, training=False), backbone(pixels, training=False))


def test_the_saved_model_answers_as_the_backbone_does(imported, tmp_path):
    backbone, out = imported
    path = tmp_path / "face.jpg"
    path.write_bytes(jpeg(5))
    served = local.LocalModel(out).embed([str(path)]).embeddings
    model = signatures.EmbeddingModel(backbone, PIXELS)
    assert_close(served, model.serve(tf.constant([jpeg(5)]))["embedding"])


def test_an_existing_folder_is_left_alone(imported):
    with pytest.raises(DataError, match="expected a folder that doesn't exist"):
        write_import(Imported(imported[0], "iresnet_tiny", OPTIONS, 16, PIXELS, (), "a test"), imported[1])


def test_init_from_decides_backbone_and_pixels(imported):
    config = make_config("data", "root", "demo", ["train.steps=0"], imported[1])
    assert config.train.backbone == "iresnet_tiny"
    assert config.train.build_options() == {**OPTIONS, "norm": "batch"}
    assert config.train.pixel_format() == PIXELS
    assert config.init_digest
    with pytest.raises(ConfigError, match="no setting that init_from decides. Received: train.backbone"):
        make_config("data", "root", "demo", ["train.backbone=iresnet50"], imported[1])


def test_init_from_needs_a_model(tmp_path):
    with pytest.raises(
        ConfigError, match=r"model\.json: expected the folder of a training run, as .*/NUMBER, or an import"
    ):
        make_config("data", "root", "demo", [], str(tmp_path))
    with pytest.raises(ConfigError, match=r"train\.steps must be positive, or train\.init_from be given"):
        make_config("data", "root", "demo", ["train.steps=0"])


def test_a_missing_checkpoint_is_named(tmp_path):
    result = cli("import-mxnet", str(tmp_path / "model"), "0", str(tmp_path / "out"))
    assert result.returncode == 2
    assert "model-symbol.json: expected a file of an MXNet checkpoint" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_format_is_refused_and_nothing_written(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    result = cli("import-onnx", str(tmp_path / "model.onnx"), str(tmp_path / "out"))
    assert result.returncode == 2, result.stderr
    assert "model.onnx" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
def test_the_real_model_gives_its_authors_figures(real_faces, tmp_path):
    out = str(tmp_path / "y1")
    result = cli("import-mxnet", str(real_faces / "mobilefacenet-y1" / "model"), "0", out)
    assert result.returncode == 0, result.stderr
    assert "mobilefacenet, 128 dimensions" in result.stdout
    figures = tmp_path / "figures.json"
    result = cli(
        "evaluate", "sets", out, "--data", str(real_faces / "official"), "--sets", "lfw", "--output", str(figures)
    )
    assert result.returncode == 0, result.stderr
    assert "0.9940 ± 0.0044" in result.stdout
    lfw = json.loads(figures.read_text())["lfw"]
    assert lfw["pairs"] == 6000
    assert lfw["accuracy"] == pytest.approx(0.99400, abs=1e-5)
    assert lfw["accuracy_std"] == pytest.approx(0.00442, abs=1e-5)
    assert lfw["xnorm"] == pytest.approx(11.094662, abs=1e-3)

    images = verification_bin.read(str(real_faces / "official" / "lfw.bin")).images[:16]
    for i, image in enumerate(images):
        (tmp_path / f"{i:02d}.jpg").write_bytes(image)
    output = str(tmp_path / "embeddings.npy")
    result = cli("embed", out, *sorted(map(str, tmp_path.glob("*.jpg"))), "--output", output)
    assert result.returncode == 0, result.stderr
    reference = np.load(real_faces / "mobilefacenet-y1" / "reference.npz")["embedding"]
    expected = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    assert_close(np.load(output), expected, 1e-3)
