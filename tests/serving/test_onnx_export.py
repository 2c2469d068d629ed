import dataclasses
import shutil

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from arcface_common.artifacts import EXTRA
from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from arcface_common.image_pixels import decode
from evaluator_custom.networks.foreign import EmbedderOptions, load_embedder
from serving import embedding_probes
from serving.onnx_export import export_onnx
from tests.closeness import assert_close
from tests.helpers import jpeg


@pytest.fixture(scope="module")
def file(model_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(model_dir, str(path))
    return path


def test_the_file_gives_the_embeddings_of_the_savedmodel(file, model_dir):
    pixels = np.stack([decode(jpeg(seed)) for seed in range(5)])
    answer = tf.saved_model.load(model_dir).signatures["embed_pixels"](tf.constant(pixels))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    [raw] = session.run(None, {"pixels": pixels.transpose(0, 3, 1, 2).astype(np.float32)})
    norms = np.linalg.norm(raw, axis=1)
    assert_close(norms, answer["norm"], 1e-5)
    assert_close(raw / norms[:, None], answer["embedding"], 1e-5)


def test_evaluate_takes_the_file(file, model_dir):
    images = [jpeg(seed) for seed in range(3)]
    ours = load_embedder(model_dir, EmbedderOptions()).embed(images)
    theirs = load_embedder(str(file), EmbedderOptions(pixels=PixelFormat("rgb", 0, 1))).embed(images)
    for one, other in zip(ours, theirs, strict=True):
        assert_close(other, one, 1e-5)


def test_a_model_of_other_weights_is_named(model_dir, metadata, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    dataclasses.replace(metadata, backbone="mobilefacenet").write(str(tmp_path / "model" / EXTRA))
    with pytest.raises(DataError, match="weights of mobilefacenet folded .* Received: no stem_conv/kernel"):
        export_onnx(str(tmp_path / "model"), str(tmp_path / "a.onnx"))
    assert not (tmp_path / "a.onnx").exists()


def test_a_file_that_gives_other_embeddings_is_not_written(model_dir, metadata, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    dataclasses.replace(metadata, pixel_format=PixelFormat("rgb", scale=127.5)).write(str(tmp_path / "model" / EXTRA))
    with pytest.raises(embedding_probes.EmbeddingMismatchError, match=r"a\.onnx, by onnxruntime: expected"):
        export_onnx(str(tmp_path / "model"), str(tmp_path / "a.onnx"))
    assert not (tmp_path / "a.onnx").exists()
